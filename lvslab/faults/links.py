"""Faults of links: down, impaired, with a small MTU; and the network in two parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lvslab.errors import UsageError
from lvslab.faults.base import Fault, broken, planned_node, wait
from lvslab.kernels.needs import Need
from lvslab.lab.impairment import Impairment
from lvslab.lab.worlds import AnyLab
from lvslab.plan.plan import NodePlan


@contextmanager
def link_down(lab: AnyLab, node: str, network: str | None = None) -> Iterator[Fault]:
    """The links of a node lose their carrier, all or the one to a network; the node itself sees it
    too.
    """
    interfaces, links = _interfaces(lab, planned_node(lab, node), network), lab.links

    def silent() -> str | None:
        up = any(links.is_up(interface) for interface in interfaces)
        return None if up else f"{', '.join(interfaces)}: no carrier"

    def mend() -> str:
        links.plug(node, interfaces)
        return f"{node}: link up"

    text, cut = f"{node}: link down ({', '.join(interfaces)})", lambda: links.unplug(node, interfaces)
    with broken(lab, node, text, cut, silent, mend) as fault:
        yield fault


@contextmanager
def impaired(
    lab: AnyLab,
    node: str,
    network: str | None = None,
    *,
    delay: float = 0.0,
    jitter: float = 0.0,
    loss: float = 0.0,
    duplicate: float = 0.0,
    reorder: float = 0.0,
    rate: float = 0.0,
) -> Iterator[Fault]:
    """What a node sends, to all its networks or to one, is impaired by netem in the node's own
    kernel (tc-netem(8)).

    Args:
        node: one whose kernel has netem; ask for it in the plan (`Need.NETEM`).
        delay, jitter, loss, duplicate, reorder, rate: as `Impairment` has them.

    Raises:
        UsageError: the node's kernel has no netem, or the values make no sense.
    """
    planned = planned_node(lab, node)
    if Need.NETEM not in planned.needs:
        able = [each.name for each in lab.plan.nodes if Need.NETEM in each.needs]
        raise UsageError(
            f"impaired link: the kernel of '{node}' was not asked for netem;"
            f" {f'these were: {able}' if able else 'no node was'}"
        )
    impairment = Impairment(delay, jitter, loss, duplicate, reorder, rate)
    interfaces, links = _interfaces(lab, planned, network), lab.links

    def mend() -> str:
        said = links.repair(node, interfaces, impairment)
        return f"{node}: links as before; netem saw: {said or 'nothing'}"

    with broken(
        lab,
        node,
        f"{node}: netem {impairment.words} on {', '.join(interfaces)}",
        lambda: links.impair(node, interfaces, impairment),
        lambda: links.shown_impairment(node, interfaces),
        mend,
    ) as fault:
        yield fault


@contextmanager
def small_mtu(lab: AnyLab, node: str, mtu: int, network: str | None = None) -> Iterator[Fault]:
    """A node's links carry only packets of `mtu` bytes, as it knows itself."""
    if not 68 <= mtu <= 65535:
        raise UsageError(f"mtu {mtu}: IPv4 takes 68 to 65535 bytes (RFC 791)")
    interfaces, links = _interfaces(lab, planned_node(lab, node), network), lab.links
    before, small = links.mtus(node, interfaces), [mtu] * len(interfaces)

    def shown() -> str | None:
        return f"mtu {mtu}" if list(links.mtus(node, interfaces)) == small else None

    def mend() -> str:
        links.set_mtus(node, interfaces, before)
        return f"{node}: MTU as before"

    text = f"{node}: MTU {mtu} on {', '.join(interfaces)}"
    limit = lambda: links.set_mtus(node, interfaces, small)  # noqa: E731
    with broken(lab, node, text, limit, shown, mend) as fault:
        yield fault


@contextmanager
def partition(lab: AnyLab, nodes: Sequence[str], network: str | None = None) -> Iterator[Fault]:
    """Some nodes are cut off from all others but not from each other, in all networks or in one; no
    node sees its link go.

    Their ports move to a second bridge, as if the cable between two switches broke.
    """
    chosen = [planned_node(lab, node) for node in nodes]
    if not chosen or len(chosen) == len(lab.plan.nodes):
        raise UsageError(
            f"partition: {len(chosen)} of {len(lab.plan.nodes)} nodes on one side; each side needs one"
        )
    ports: dict[str, list[str]] = {}
    for planned in chosen:
        for interface in planned.interfaces:
            if network in (None, interface.network):
                ports.setdefault(interface.network, []).append(interface.name)
    if not ports:
        raise UsageError(
            f"partition: none of {', '.join(nodes)} is in network '{network}'; networks:"
            f" {', '.join(lab.plan.networks)}"
        )
    links, where = lab.links, ", ".join(nodes)
    names = [name for own in ports.values() for name in own]

    def apart() -> str | None:
        if not all(links.is_cut_off(name) for name in names):
            return None
        return f"{', '.join(links.far_end(name) for name in names)} on another bridge"

    def mend() -> str:
        links.rejoin(ports)
        wait(
            lab,
            lambda: not any(links.is_cut_off(name) for name in names),
            f"partition: {where} do not come back",
        )
        return f"partition over: {where} joined again"

    text = f"partition: {where} cut off from the others"
    with broken(lab, nodes[0], text, lambda: links.cut_off(ports), apart, mend) as fault:
        yield fault


def _interfaces(lab: AnyLab, planned: NodePlan, network: str | None) -> list[str]:
    found = [each.name for each in planned.interfaces if network in (None, each.network)]
    if not found:
        own = ", ".join(each.network for each in planned.interfaces)
        raise UsageError(f"fault: '{planned.name}' has no link to '{network}'; it has links to: {own}")
    return found
