"""Real servers that could not be read themselves: what a director alone can tell about them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

from lvslab.doctor.evidence import Destination, Evidence, alone
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.rules.traffic import shown
from lvslab.doctor.rules.tunnel import tunnel_link
from lvslab.ipvs.listings import Connection
from lvslab.runs.words import plural

_FEW = 2
"""A single half-open connection may be one that is just being made."""

_CROWD = 20
"""Half-open connections from more clients than that are a flood rather."""

_HALF = {"TCP": ("SYN_RECV",), "SCTP": ("INIT1", "INIT")}
"""States of entries whose server has not answered yet (ip_vs_proto_tcp.c, ip_vs_proto_sctp.c)."""

_GONE = ("FAILED", "INCOMPLETE")


def no_handshake(evidence: Evidence) -> Iterator[Finding]:
    """None of the connections to a server ever got through its handshake: it is not there, or its
    replies go elsewhere.
    """
    for each in evidence.destinations():
        ipvs = each.director.ipvs
        here = ipaddress.ip_address(each.server.address).is_loopback
        if here or each.machine is not None or ipvs is None or _does_not_forward(each):
            continue
        entries = [
            entry
            for entry in ipvs.entries_at(each.server)
            if entry.protocol in _HALF and not entry.is_template
        ]
        half = [entry for entry in entries if entry.state in _HALF[entry.protocol]]
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
    stuck = f"{director.name}: ipvsadm -Lnc: {half_open} ({half[0].state}) to {each.server.name}, no other"
    neighbour = next((entry for entry in director.neighbours if entry.ip == rip), None)
    if neighbour and neighbour.state in _GONE:
        return Finding(
            "server-unreachable",
            f"{rip} does not answer {_ask(rip)} on {neighbour.link}: the server is off, or not there, but"
            " has its share of the connections.",
            (f"{director.name}: ip neigh: {rip} {neighbour.state}", stuck, shown(each)),
            (
                f"{director.name}# ipvsadm -d {' '.join(each.service.selector)} -r {each.server.name}",
                "and have keepalived, ldirectord or mon check the servers",
            ),
        )
    alive = [f"{director.name}: ip neigh: {rip} {neighbour.state}: it is there"] if neighbour else []
    remembered = _assured(each)
    if remembered:
        return Finding(
            "server-silent",
            f"{rip} has answered clients and does so no more: most likely it is gone, or hangs."
            f" {each.service.name} is persistent, so {plural(len(remembered), 'remembered client')} cannot"
            f" get away from it: every try makes it theirs for another {each.service.persistence_timeout} s,"
            " and no sysctl ends that as long as the server has a weight.",
            (
                stuck,
                *(
                    f"{director.name}: ipvsadm -Lnc: {entry.client} -> {entry.destination} {entry.state}: a"
                    " handshake with it was finished once"
                    for entry in remembered[:_FEW]
                ),
                *alive,
                shown(each),
            ),
            (
                f"{director.name}# ipvsadm -d {' '.join(each.service.selector)} -r {each.server.name}",
                "and have keepalived, ldirectord or mon check the servers; where one does, find out why it"
                " has left this one in the table",
            ),
            Certainty.LIKELY,
        )
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
            f"on {rip}: ip address add {alone(each.service.address)} dev"
            f" {tunnel_link(each) if each.tunnels else 'lo'}",
        ),
        Certainty.LIKELY,
    )


def _ask(rip: str) -> str:
    """How a neighbour is asked for its address."""
    return "neighbour discovery" if ":" in rip else "ARP"


def _assured(each: Destination) -> list[Connection]:
    """The templates of clients that this server has served: the state says so since 4.19
    (IP_VS_CTPL_S_ASSURED, set when a connection under the template is established).
    """
    ipvs = each.director.ipvs
    return [
        entry
        for entry in (ipvs.entries_at(each.server) if ipvs and each.service.persistence_timeout else ())
        if entry.is_template and entry.state == "ASSURED"
    ]


def _own_address(each: Destination) -> str:
    """The director's own address in the server's network."""
    link = each.director.on_link(each.server.address)
    return (
        next((address.ip for address in link.addresses if address.prefix < 31), "DIRECTOR")
        if link
        else "DIRECTOR"
    )
