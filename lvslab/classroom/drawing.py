"""The network of a lab, drawn with its nodes as buttons: networks as bars, nodes between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from lvslab.modes.base import Role


@dataclass(frozen=True)
class Row:
    """A row of the drawing: nodes, and the network drawn below them, if one is.

    Attributes:
        nodes: as the keeper's status tells them.
        network: its name and subnet.
    """

    nodes: tuple[Mapping[str, Any], ...]
    network: tuple[str, str] | None


def rows(nodes: Sequence[Mapping[str, Any]], networks: Mapping[str, str]) -> list[Row]:
    """Which nodes stand between which networks, from the clients down.

    Clients stand above their network, servers below it, and who is in several below the first.
    """
    names = sorted(networks, key=lambda name: _order(name, nodes))
    places: list[list[Mapping[str, Any]]] = [[] for _ in range(len(names) + 1)]
    for node in nodes:
        joined = sorted(names.index(name) for name in node["networks"] if name in names)
        first = joined[0] if joined else 0
        above = node["role"] == Role.CLIENT and len(joined) < 2
        places[first if above else first + 1].append(node)
    bars: list[tuple[str, str] | None] = [(name, networks[name]) for name in names]
    return [Row(tuple(place), bar) for place, bar in zip(places, [*bars, None], strict=True)]


def _order(name: str, nodes: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """Networks of clients come first, those of servers alone last."""
    roles = {node["role"] for node in nodes if name in node["networks"]}
    return (0 if Role.CLIENT in roles else 2 if Role.REAL_SERVER in roles else 1), name


@dataclass(frozen=True)
class Entry:
    """A line of a node's that comes from the directors' tables.

    Attributes:
        director: whose.
        text: as it is drawn; without its director where there is only one.
        is_idle: it has weight 0, or stands for a server that is not in the network.
    """

    director: str
    text: str
    is_idle: bool = False


def entries(
    node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], tables: Sequence[Mapping[str, Any]]
) -> list[Entry]:
    """What the tables say of a node: a director's services, and entries for which there is no
    server; a server's ports and weights.
    """
    own = _addresses(node)
    known = {address for each in nodes for address in _addresses(each)}
    told: list[Entry] = []
    for table in tables:
        director = str(table["director"])
        mine = director == node["name"]
        if mine:
            told.append(Entry(director, str(table["service"])))
        for server in table["servers"]:
            address, port, weight = server["address"], server["port"], server["weight"]
            if address in own:
                told.append(Entry(director, f":{port} weight {weight}", weight == 0))
            elif mine and address not in known:
                told.append(Entry(director, f"→ {address}:{port} ?", is_idle=True))
    return list(dict.fromkeys(told))


def _addresses(node: Mapping[str, Any]) -> list[str]:
    return [str(address or "").partition("/")[0] for address in node["addresses"]]


def draw(
    status: Mapping[str, Any],
    press: Callable[[str], Any],
    say: Callable[[str], str],
    titles: Mapping[str, str],
    tables: Sequence[Mapping[str, Any]],
) -> None:
    """Draw it here.

    Args:
        status: of the lab, as its keeper tells it.
        tables: of its directors, likewise.
        press: what a press on a node does.
        titles: role → what people call it.
    """
    with ui.element("div").classes("network").props(f'role=group aria-label="{say("Network")}"'):
        for row in rows(status["nodes"], status["networks"]):
            with ui.element("div").classes("network-row"):
                for node in row.nodes:
                    button = _node(node, status, press, say, titles)
                    with button:
                        _show(entries(node, status["nodes"], tables), say)
            if row.network:
                name, subnet = row.network
                with ui.element("div").classes("network-bar"):
                    ui.label(f"{name}  {subnet}")


def _node(
    node: Mapping[str, Any],
    status: Mapping[str, Any],
    press: Callable[[str], Any],
    say: Callable[[str], str],
    titles: Mapping[str, str],
) -> ui.element:
    name, on = node["name"], node["on"]
    label = say("Open a terminal on {node}").format(node=name)
    button = ui.element("button").classes(
        f"node node-{node['role'].replace(' ', '-')}" + ("" if on else " node-off")
    )
    button.props(f'type=button aria-label="{label}" title="{label}" data-node={name}')
    button.on("click", lambda: press(name))
    with button:
        ui.label(name).classes("node-name")
        ui.label(titles.get(node["role"], node["role"]) if on else say("switched off")).classes("node-role")
        for address in _addresses(node):
            ui.label(address).classes("node-address")
        if node["role"] == Role.DIRECTOR:
            ui.label(f"VIP {status['vip']}").classes("node-address node-vip")
    return button


def _show(told: Sequence[Entry], say: Callable[[str], str]) -> None:
    several = len({entry.director for entry in told}) > 1
    for entry in told:
        words = entry.text.replace("weight", say("weight"))
        label = ui.label(f"{entry.director} {words}" if several else words).classes("node-entry")
        if entry.is_idle:
            label.classes("node-idle")
