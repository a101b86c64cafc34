"""Faults of links: down, impaired, with a small MTU; and the network in two parts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from lvslab.errors import LabError, UsageError
from lvslab.faults.base import Fault, broken, planned_node, wait
from lvslab.host import linux
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.plan import NodePlan


@contextmanager
def link_down(lab: Lab, node: str, network: str | None = None) -> Iterator[Fault]:
    """The links of a node lose their carrier, all or the one to a network; the node itself sees it
    too.
    """
    planned = planned_node(lab, node)
    interfaces = _interfaces(lab, planned, network)
    switch_ends = [_switch_end(lab, each) for each in interfaces]
    guest = planned.is_guest

    def cut() -> None:
        for end in switch_ends:
            linux.set_link_up(end, up=False)
        if guest:  # a guest's card does not see what happens at the switch
            lab.node(node).run("\n".join(f"ip link set {each} down" for each in interfaces)).check(
                node, "ip link set down"
            )

    def silent() -> str | None:
        return (
            None
            if any(linux.is_link_up(end) for end in switch_ends)
            else f"{', '.join(interfaces)}: no carrier"
        )

    def mend() -> str:
        for end in switch_ends:
            linux.set_link_up(end)
        if guest:
            routes = [
                action.plain()
                for step in planned.network_steps
                if step.name == "routes"
                for action in step.actions
            ]
            lines = [f"ip link set {each} up" for each in interfaces]
            # a link that goes down takes its routes along
            lines += [line.replace("route add", "route replace") for line in routes]
            lab.node(node).run("\n".join(lines)).check(node, "ip link set up")
        return f"{node}: link up"

    with broken(lab, node, f"{node}: link down ({', '.join(interfaces)})", cut, silent, mend) as fault:
        yield fault


_LIMIT = 100_000
"""Packets that netem holds at most: more than any trial has on the way."""


@contextmanager
def impaired(
    lab: Lab,
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
        delay, jitter: seconds.
        loss, duplicate, reorder: shares, 0..1; reordered packets overtake delayed ones, so they
            need a delay.
        rate: bit/s.

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
    words = _netem_words(delay, jitter, loss, duplicate, reorder, rate)
    interfaces = _interfaces(lab, planned, network)
    machine = lab.node(node)

    def impair() -> None:
        lines = [f"tc qdisc replace dev {each} root netem limit {_LIMIT} {words}" for each in interfaces]
        machine.run("set -e\n" + "\n".join(lines)).check(node, f"tc … netem {words}")

    def shown() -> str | None:
        out = [machine.run(f"tc qdisc show dev {each}").out.strip() for each in interfaces]
        return "; ".join(out) if all("netem" in each for each in out) else None

    def drain() -> None:
        """Let go what the queues hold: `tc qdisc del` would throw it away."""
        machine.run(
            "\n".join(f"tc qdisc change dev {each} root netem limit {_LIMIT} delay 0" for each in interfaces)
        )
        wait(
            lambda: all(
                "backlog 0b 0p" in machine.run(f"tc -s qdisc show dev {each}").out for each in interfaces
            ),
            f"{node}: what netem holds back does not leave",
        )

    def mend() -> str:
        if delay and not rate:  # what a rate holds back may be minutes
            drain()
        seen = machine.run(f"tc -s qdisc show dev {interfaces[0]}").out.strip().splitlines()
        machine.run("\n".join(f"tc qdisc del dev {each} root" for each in interfaces)).check(
            node, "tc qdisc del"
        )
        return (
            f"{node}: links as before; netem saw: {' '.join(seen[1].split()) if len(seen) > 1 else 'nothing'}"
        )

    with broken(lab, node, f"{node}: netem {words} on {', '.join(interfaces)}", impair, shown, mend) as fault:
        yield fault


@contextmanager
def small_mtu(lab: Lab, node: str, mtu: int, network: str | None = None) -> Iterator[Fault]:
    """A node's links carry only packets of `mtu` bytes, as it knows itself."""
    if not 68 <= mtu <= 65535:
        raise UsageError(f"mtu {mtu}: IPv4 takes 68 to 65535 bytes (RFC 791)")
    planned = planned_node(lab, node)
    interfaces = _interfaces(lab, planned, network)
    machine = lab.node(node)

    def read() -> str:
        return machine.run("\n".join(f"cat /sys/class/net/{each}/mtu" for each in interfaces)).check(
            node, "cat mtu"
        )

    before = read().split()

    def limit(values: Sequence[str]) -> None:
        lines = [f"ip link set {each} mtu {value}" for each, value in zip(interfaces, values, strict=True)]
        machine.run("\n".join(lines)).check(node, f"ip link set mtu {mtu}")

    def shown() -> str | None:
        return f"mtu {mtu}" if set(read().split()) == {str(mtu)} else None

    def mend() -> str:
        limit(before)
        return f"{node}: MTU as before"

    text, small = f"{node}: MTU {mtu} on {', '.join(interfaces)}", [str(mtu)] * len(interfaces)
    with broken(lab, node, text, lambda: limit(small), shown, mend) as fault:
        yield fault


@contextmanager
def partition(lab: Lab, nodes: Sequence[str], network: str | None = None) -> Iterator[Fault]:
    """Some nodes are cut off from all others but not from each other, in all networks or in one; no
    node sees its link go.

    Their ports move to a second bridge, as if the cable between two switches broke.
    """
    chosen = [planned_node(lab, node) for node in nodes]
    if not chosen or len(chosen) == len(lab.plan.nodes):
        raise UsageError(
            f"partition: {len(chosen)} of {len(lab.plan.nodes)} nodes on one side; each side needs one"
        )
    moves: dict[str, list[str]] = {}
    for planned in chosen:
        for each in planned.interfaces:
            if network in (None, each.network):
                moves.setdefault(each.network, []).append(_switch_end(lab, each.name))
    if not moves:
        raise UsageError(
            f"partition: none of {', '.join(nodes)} is in network '{network}'; networks:"
            f" {', '.join(lab.plan.networks)}"
        )
    ports = [port for each in moves.values() for port in each]

    def cut() -> None:
        lines = [
            f"link add {switch}-cut type bridge mcast_snooping 0\nlink set {switch}-cut up"
            for switch in moves
        ]
        _ip_batch(
            [
                *lines,
                *(f"link set {port} master {switch}-cut" for switch, own in moves.items() for port in own),
            ]
        )

    def masters() -> list[str]:
        return [_master_of(port) for port in ports]

    def apart() -> str | None:
        return (
            f"{', '.join(ports)} on another bridge"
            if all(each.endswith("-cut") for each in masters())
            else None
        )

    def mend() -> str:
        _ip_batch([f"link set {port} master {switch}" for switch, own in moves.items() for port in own])
        _ip_batch([f"link del {switch}-cut" for switch in moves])
        wait(
            lambda: not any(each.endswith("-cut") for each in masters()),
            f"partition: {where} do not come back",
        )
        return f"partition over: {where} joined again"

    where = ", ".join(nodes)
    with broken(lab, nodes[0], f"partition: {where} cut off from the others", cut, apart, mend) as fault:
        yield fault


def _interfaces(lab: Lab, planned: NodePlan, network: str | None) -> list[str]:
    found = [each.name for each in planned.interfaces if network in (None, each.network)]
    if not found:
        own = ", ".join(each.network for each in planned.interfaces)
        raise UsageError(f"fault: '{planned.name}' has no link to '{network}'; it has links to: {own}")
    return found


def _switch_end(lab: Lab, interface: str) -> str:
    for link in lab.net.links:
        ends = {link.intf1.name: link.intf2.name, link.intf2.name: link.intf1.name}
        if interface in ends:
            return str(ends[interface])
    raise LabError(f"{interface}: belongs to no link of the lab")


def _ip_batch(lines: Sequence[str]) -> None:
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LabError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")


def _master_of(port: str) -> str:
    done = subprocess.run(
        ["ip", "-o", "link", "show", "dev", port], capture_output=True, text=True, check=True
    )
    return done.stdout.partition(" master ")[2].split()[0]


def _netem_words(
    delay: float, jitter: float, loss: float, duplicate: float, reorder: float, rate: float
) -> str:
    shares: Mapping[str, float] = {"loss": loss, "duplicate": duplicate, "reorder": reorder}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise UsageError(f"impaired link: {name} {share:g} is no share; give 0 to 1")
    if min(delay, jitter, rate) < 0:
        raise UsageError("impaired link: delay, jitter and rate are not negative")
    if reorder and not delay:
        raise UsageError("impaired link: reordered packets overtake delayed ones; give a delay too")
    words = []
    if delay or jitter:
        words.append(f"delay {delay * 1000:g}ms" + (f" {jitter * 1000:g}ms" if jitter else ""))
    words += [f"{name} {share:.4%}" for name, share in shares.items() if share]
    if rate:
        words.append(f"rate {rate:.0f}bit")
    if not words:
        raise UsageError("impaired link: nothing is impaired; give delay, loss, duplicate, reorder or rate")
    return " ".join(words)
