"""Real servers that could not be read themselves: what a director alone can tell about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lvslab.doctor.evidence import Destination, Evidence
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.rules.traffic import shown
from lvslab.ipvs.ipvsadm import Connection
from lvslab.runs.words import plural

_FEW = 2
"""A single half-open connection may be one that is just being made."""

_CROWD = 20
"""Half-open connections from more clients than that are a flood rather."""

_GONE = ("FAILED", "INCOMPLETE")


def no_handshake(evidence: Evidence) -> Iterator[Finding]:
    """None of the connections to a server ever got through its handshake: it is not there, or its
    replies go elsewhere.
    """
    for each in evidence.destinations():
        ipvs = each.director.ipvs
        if each.machine is not None or ipvs is None or _does_not_forward(each):
            continue
        entries = [
            entry
            for entry in ipvs.connections
            if entry.destination == each.server.endpoint and entry.protocol == "TCP"
        ]
        half = [entry for entry in entries if entry.state == "SYN_RECV"]
        if (
            len(half) < _FEW
            or len(half) < len(entries)
            or len({entry.client.address for entry in half}) > _CROWD
        ):
            continue
        yield _finding(each, half)


def _does_not_forward(each: Destination) -> bool:
    """Whether the director itself keeps the replies: there is another rule for that."""
    return each.masquerades and not each.director.sysctl("net.ipv4.ip_forward", 1)


def _finding(each: Destination, half: Sequence[Connection]) -> Finding:
    director, rip = each.director, each.server.address
    half_open = plural(len(half), "half-open connection")
    stuck = f"{director.name}: ipvsadm -Lnc: {half_open} (SYN_RECV) to {each.server.name}, no other"
    neighbour = next((entry for entry in director.neighbours if entry.ip == rip), None)
    if neighbour and neighbour.state in _GONE:
        return Finding(
            "server-unreachable",
            f"{rip} does not answer ARP on {neighbour.link}: the server is off, or not there, but has its"
            " share of the connections.",
            (f"{director.name}: ip neigh: {rip} {neighbour.state}", stuck, shown(each)),
            (
                f"{director.name}# ipvsadm -d {' '.join(each.service.selector)} -r {each.server.name}",
                "and have keepalived, ldirectord or mon check the servers",
            ),
        )
    alive = [f"{director.name}: ip neigh: {rip} {neighbour.state}: it is there"] if neighbour else []
    if each.masquerades:
        return Finding(
            "wrong-gateway",
            f"Nothing comes back from {rip}: most likely its route to the clients does not lead through the"
            " director (or its firewall drops them).",
            (stuck, *alive, shown(each)),
            (
                f"on {rip}, look: ip route get {half[0].client.address}",
                f"on {rip}: ip route replace default via {_own_address(each)}",
            ),
            Certainty.LIKELY,
        )
    return Finding(
        "server-silent",
        f"No client's handshake with {rip} is ever finished: most likely the server does not take packets for"
        f" {each.service.address}, or its replies do not reach the clients.",
        (stuck, *alive, shown(each)),
        (
            (
                f"on {rip}, look: ip address show to {each.service.address}; ss -ltn; ip route get"
                f" {half[0].client.address}"
            ),
            f"on {rip}: ip address add {each.service.address}/32 dev {'tunl0' if each.tunnels else 'lo'}",
        ),
        Certainty.LIKELY,
    )


def _own_address(each: Destination) -> str:
    """The director's own address in the server's network."""
    link = each.director.on_link(each.server.address)
    return (
        next((address.ip for address in link.addresses if address.prefix < 31), "DIRECTOR")
        if link
        else "DIRECTOR"
    )
