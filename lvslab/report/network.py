"""The network of a lab as a figure: every node with role, addresses and kernel, every network, and
the way of a test flow.

Laid out from the lab's data alone. Networks are vertical trays, ordered by their distance from the
clients; a node stands between the networks it joins, clients left of theirs. All sizes in points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lvslab.report import style
from lvslab.report.looks import Look
from lvslab.runs.records import Flow, Lab, Node

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PAD, _ROW, _HEAD, _GAP = 11.0, 17.0, 25.0, 16.0
_STUB = 36.0  # from a card to a tray
_TRAY = 20.0  # width of a tray
_LANE = 5.0  # between two hops on the same wire
_TITLE, _LABEL, _MARGIN = 30.0, 34.0, 16.0
_ROLE_ORDER = {"client": 0, "director": 1, "router": 2, "real server": 3}


@dataclass(slots=True)
class _Row:
    """One line of a card; a row with a `network` is an interface and has a wire on its side."""

    text: str
    note: str = ""
    network: str = ""
    side: str = "left"
    kind: str = "interface"


@dataclass(slots=True)
class _Card:
    """A node as it is drawn; x and y are the top left corner."""

    node: Node
    rows: list[_Row]
    slot: int
    width: float = 0.0
    x: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> float:
        return _HEAD + _ROW * len(self.rows) + 7

    def wire(self, network: str) -> tuple[float, float, str]:
        """Where the wire to a network leaves the card: x, y, side."""
        for index, row in enumerate(self.rows):
            if row.network == network:
                return (
                    self.x if row.side == "left" else self.x + self.width,
                    self.y + _HEAD + _ROW * (index + 0.5),
                    row.side,
                )
        raise KeyError(network)


@dataclass(frozen=True, slots=True)
class _Hop:
    """A packet of the request or the reply from one node to the next over a network."""

    way: str
    source: str
    target: str
    network: str


@dataclass(slots=True)
class _Layout:
    cards: dict[str, _Card] = field(default_factory=dict)
    trays: dict[str, float] = field(default_factory=dict)  # network → x of its centre
    width: float = 0.0
    height: float = 0.0


def draw(lab: Lab, look: Look, flow: Flow | None = None) -> Figure:
    """The network of `lab`, whose director has `look`; with a flow also the way of its requests and
    replies.
    """
    with style.styled():
        layout = _layout(lab)
        ways = _ways(lab, flow) if flow else []
        legend_width = max((style.text_width(_way_text(*way), 9) + 62 for way in ways), default=0)
        title = f"{look.title}: the network" + ("" if lab.name == lab.mode else f" of {lab.name}")
        layout.width = max(
            layout.width, legend_width + 2 * _MARGIN, style.text_width(title, 12, True) + 2 * _MARGIN
        )
        figure, axes = style.sheet(layout.width, layout.height + len(ways) * 17 + (_MARGIN if ways else 0))
        axes.text(_MARGIN, 22, title, size=12, weight="bold", va="baseline")
        _draw_trays(axes, lab, layout)
        hops = _hops(layout, ways)
        _draw_wires(axes, layout, {(end, hop.network) for hop in hops for end in (hop.source, hop.target)})
        for card in layout.cards.values():
            _draw_card(axes, card, look.light)
        _draw_hops(axes, layout, hops, look.light)
        _draw_legend(axes, layout, ways, look.light)
        return figure


def vips(lab: Lab) -> tuple[str, ...]:
    """The addresses of the lab's virtual services."""
    words = [rule.split() for rule in lab.service_rules if rule.startswith("-A ")]
    named = [
        word.rsplit(":", 1)[0] for rule in words for flag, word in pairwise(rule) if flag in ("-t", "-u")
    ]
    counted = [
        service.service.split()[-1].rsplit(":", 1)[0] for service in lab.counters if ":" in service.service
    ]
    return tuple(dict.fromkeys(named + counted))


# --- layout ---------------------------------------------------------------------------------------


def _layout(lab: Lab) -> _Layout:
    order = _network_order(lab)
    position = {name: index for index, name in enumerate(order)}
    cards = [
        _card(node, lab, position) for node in sorted(lab.nodes, key=lambda n: _ROLE_ORDER.get(n.role, 4))
    ]
    columns = [[card for card in cards if card.slot == slot] for slot in range(len(order) + 1)]
    widths = [max((card.width for card in column), default=0.0) for column in columns]
    heights = [sum(card.height + _GAP for card in column) - _GAP for column in columns]
    top, tallest = _TITLE + _LABEL, max([*heights, 60.0])
    layout, x = _Layout(), _MARGIN
    for slot, column in enumerate(columns):
        y = top + (tallest - heights[slot]) / 2
        for card in column:
            card.x, card.y, card.width = x, y, widths[slot]
            y += card.height + _GAP
            layout.cards[card.node.name] = card
        x += widths[slot]
        if slot < len(order):
            left = _STUB if widths[slot] else 30.0
            layout.trays[order[slot]] = x + left + _TRAY / 2
            x += left + _TRAY + (_STUB if widths[slot + 1] else 30.0)
    layout.width, layout.height = x + _MARGIN, top + tallest + _MARGIN
    return layout


def _network_order(lab: Lab) -> list[str]:
    """The networks by their distance from the clients; those of the same distance as the lab lists
    them.
    """
    members = {
        network.name: {n.name for n in lab.nodes if network.name in _networks(n)} for network in lab.networks
    }
    reached = {n.name for n in lab.nodes if n.role == "client"} or {n.name for n in lab.nodes[:1]}
    order: list[str] = []
    while len(order) < len(members):
        near = [name for name in members if name not in order and members[name] & reached]
        near = near or [name for name in members if name not in order]
        order += near
        reached |= set().union(*(members[name] for name in near))
    return order


def _networks(node: Node) -> list[str]:
    return [interface.network for interface in node.interfaces]


def _slot(node: Node, position: dict[str, int]) -> int:
    """The column a node stands in: slot i lies left of network i, slot i + 1 right of it."""
    joined = sorted(position[name] for name in _networks(node) if name in position)
    if not joined:
        return len(position)
    if len(joined) == 1:
        return joined[0] if node.role == "client" else joined[0] + 1
    return joined[0] + 1


def _card(node: Node, lab: Lab, position: dict[str, int]) -> _Card:
    slot = _slot(node, position)
    rows = []
    for interface in node.interfaces:
        place = position.get(interface.network)
        side = "left" if place is not None and place < slot else "right"
        text = ", ".join(address.split("/")[0] for address in interface.addresses) or "no address"
        rows.append(
            _Row(
                text,
                interface.name.removeprefix(f"{node.name}-"),
                interface.network if place is not None else "",
                side,
            )
        )
    services = vips(lab)
    for extra in node.extra_addresses:
        address, _, device = extra.partition(" on ")
        plain = address.split("/")[0]
        label = "VIP" if plain in services else "LIP" if plain in lab.local_addresses else ""
        note = f"on {device.strip().removeprefix(f'{node.name}-')}" if device else ""
        rows.append(_Row(plain, note, kind=label or "extra"))
    kernel = f"{node.kernel.kind} {node.kernel.release}" if node.kernel else "not recorded"
    rows.append(_Row(style.fit(kernel, 150, 8), kind="kernel"))
    card = _Card(node, rows, slot)
    needed = [style.text_width(node.name, 11, True) + 14 + style.text_width(node.role, 8.5)]
    for row in rows:
        badge = style.text_width(row.kind, 7.5, True) + 14 if row.kind in ("VIP", "LIP") else 0.0
        mono = row.kind != "kernel"
        needed.append(
            badge
            + style.text_width(row.text, 8.5 if mono else 8, mono=mono)
            + 10
            + style.text_width(row.note, 8)
        )
    card.width = max(needed) + 2 * _PAD
    return card


# --- ways -----------------------------------------------------------------------------------------


def _ways(lab: Lab, flow: Flow) -> list[tuple[str, list[str]]]:
    """The nodes a request passes up to the real server, and those its reply passes; what they did,
    not what they should.
    """
    roles = {node.name: node.role for node in lab.nodes}
    hops = [(step.source, step.target or "") for step in flow.steps]
    arrival = next((i for i, (_, target) in enumerate(hops) if roles.get(target) == "real server"), None)
    if arrival is None:
        return []
    request = [hops[arrival][1], hops[arrival][0]]
    for source, target in reversed(hops[:arrival]):
        if target == request[-1] and source not in request and roles.get(request[-1]) != "client":
            request.append(source)
    reply = [request[0]]
    for source, target in hops[arrival + 1 :]:
        if source == reply[-1] and target not in reply and roles.get(reply[-1]) != "client":
            reply.append(target)
    return [("request", request[::-1])] + ([("reply", reply)] if len(reply) > 1 else [])


def _way_text(name: str, nodes: Sequence[str]) -> str:
    return f"{name}  {' → '.join(nodes)}"


# --- drawing --------------------------------------------------------------------------------------


def _draw_trays(axes: Axes, lab: Lab, layout: _Layout) -> None:
    subnets = {network.name: network.subnet for network in lab.networks}
    for name, x in layout.trays.items():
        levels = [
            card.wire(name)[1] for card in layout.cards.values() if name in (row.network for row in card.rows)
        ]
        top = _TITLE + _LABEL - 2
        bottom = max([*levels, top + 30]) + 16
        style.rounded(axes, x - _TRAY / 2, top, _TRAY, bottom - top, 6, fc=style.TRAY, ec="none")
        axes.text(x, top - 16, name, size=9.5, weight="bold", ha="center", va="baseline")
        axes.text(
            x,
            top - 5.5,
            subnets[name],
            size=8,
            color=style.MUTED,
            ha="center",
            va="baseline",
            family=style.MONO,
        )


def _draw_wires(axes: Axes, layout: _Layout, used: set[tuple[str, str]]) -> None:
    """The wire of every interface but those that show hops; a network that is not next to the card
    is named instead.
    """
    for card in layout.cards.values():
        for row in card.rows:
            if not row.network or (card.node.name, row.network) in used:
                continue
            x, y, side = card.wire(row.network)
            tray = layout.trays[row.network]
            if _adjacent(card, row.network, layout):
                axes.plot([x, tray], [y, y], color=style.LINE, lw=1.1, zorder=1.5, solid_capstyle="butt")
                axes.plot([tray], [y], marker="o", ms=4, color=style.LINE, zorder=1.6, mec="none")
            else:
                end = x + (-8 if side == "left" else 8)
                axes.plot([x, end], [y, y], color=style.LINE, lw=1.1)
                align = "right" if side == "left" else "left"
                axes.text(end, y, f" {row.network} ", size=7.5, color=style.MUTED, va="center", ha=align)


def _adjacent(card: _Card, network: str, layout: _Layout) -> bool:
    return card.slot - list(layout.trays).index(network) in (0, 1)


def _draw_card(axes: Axes, card: _Card, color: str) -> None:
    director = card.node.role == "director"
    edge, line = (color, 2.0) if director else (style.LINE, 0.9)
    style.rounded(axes, card.x, card.y, card.width, card.height, 5, fc=style.CARD, ec=edge, lw=line, zorder=2)
    left, right = card.x + _PAD, card.x + card.width - _PAD
    axes.text(left, card.y + 16, card.node.name, size=11, weight="bold", va="baseline", zorder=3)
    axes.text(
        right, card.y + 16, card.node.role, size=8.5, color=style.MUTED, va="baseline", ha="right", zorder=3
    )
    for index, row in enumerate(card.rows):
        y = card.y + _HEAD + _ROW * (index + 0.5)
        if row.kind == "kernel":
            axes.plot([left, right], [y - _ROW / 2 + 1] * 2, color=style.GRID, lw=0.9, zorder=3)
            axes.text(left, y + 1.5, row.text, size=8, color=style.MUTED, va="center_baseline", zorder=3)
            continue
        x = left
        if row.kind in ("VIP", "LIP"):
            width = style.text_width(row.kind, 7.5, True) + 8
            style.rounded(axes, x, y - 6, width, 12, 3, fc=color, alpha=0.25, ec="none", zorder=3)
            axes.text(
                x + width / 2,
                y,
                row.kind,
                size=7.5,
                weight="bold",
                ha="center",
                va="center_baseline",
                zorder=4,
            )
            x += width + 6
        if row.side == "right" and row.kind == "interface":
            axes.text(left, y, row.note, size=8, color=style.MUTED, va="center_baseline", zorder=3)
            axes.text(
                right, y, row.text, size=8.5, family=style.MONO, va="center_baseline", ha="right", zorder=3
            )
        else:
            axes.text(x, y, row.text, size=8.5, family=style.MONO, va="center_baseline", zorder=3)
            axes.text(
                right, y, row.note, size=8, color=style.MUTED, va="center_baseline", ha="right", zorder=3
            )


def _line(name: str, color: str) -> dict[str, Any]:
    """Colour and dashes of a way."""
    return {"color": color, "ls": "-"} if name == "request" else {"color": style.INK, "ls": (0, (3.2, 1.8))}


def _hops(layout: _Layout, ways: Sequence[tuple[str, list[str]]]) -> list[_Hop]:
    """The hops of the ways that the figure can show: those over a network next to both nodes."""
    hops = []
    for name, nodes in ways:
        for source, target in pairwise(nodes):
            near, far = layout.cards.get(source), layout.cards.get(target)
            if near is None or far is None:
                continue
            theirs = {row.network for row in far.rows if row.network and _adjacent(far, row.network, layout)}
            shared = [
                row.network
                for row in near.rows
                if row.network in theirs and _adjacent(near, row.network, layout)
            ]
            hops += [_Hop(name, source, target, shared[0])] if shared else []
    return hops


def _draw_hops(axes: Axes, layout: _Layout, hops: Sequence[_Hop], color: str) -> None:
    """The hops as lines beside each other, each in its own lane of the network it uses."""
    for network, center in layout.trays.items():
        here = [hop for hop in hops if hop.network == network]
        for index, hop in enumerate(here):
            offset = (index - (len(here) - 1) / 2) * min(_LANE, _TRAY / len(here))
            x1, y1, _ = layout.cards[hop.source].wire(network)
            x2, y2, side = layout.cards[hop.target].wire(network)
            tip, back = (x2 - 1.5, -6.0) if side == "left" else (x2 + 1.5, 6.0)
            lane = center + offset
            axes.plot(
                [x1, lane, lane, tip + back],
                [y1 + offset, y1 + offset, y2 + offset, y2 + offset],
                lw=1.8,
                zorder=1.8,
                solid_joinstyle="round",
                dash_joinstyle="round",
                solid_capstyle="butt",
                dash_capstyle="butt",
                **_line(hop.way, color),
            )
            y = y2 + offset
            axes.fill(
                [tip, tip + back, tip + back],
                [y, y - 3.4, y + 3.4],
                color=_line(hop.way, color)["color"],
                lw=0,
                zorder=2.5,
            )


def _draw_legend(axes: Axes, layout: _Layout, ways: Sequence[tuple[str, list[str]]], color: str) -> None:
    for index, (name, nodes) in enumerate(ways):
        y = layout.height + 8 + 17 * index
        axes.plot([_MARGIN, _MARGIN + 26], [y, y], lw=1.8, **_line(name, color))
        axes.text(_MARGIN + 34, y, _way_text(name, nodes), size=9, va="center_baseline")
