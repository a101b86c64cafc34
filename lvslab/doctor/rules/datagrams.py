"""UDP has no connections: IPVS makes entries all the same, by address and port of the sender."""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.rules.traffic import shown
from lvslab.ipvs.service import PacketForwarding, Protocol, VirtualService
from lvslab.runs.words import plural

_SAME_PORT = {5683: "CoAP (RFC 7252)", 514: "syslog (RFC 5426)"}
"""Services whose senders keep one source port for all that they send, and whose messages need not
go to one server.
"""

_MANY = 10
"""So many datagrams through one entry are no question and answer any more."""

_FRESH = 60
"""Seconds within which an entry was renewed that counts as in use."""

_LIFETIME = 300
"""Seconds that an entry of UDP lives unless `ipvsadm --set` was used (ip_vs_proto_udp.c)."""

_SHARE = 0.8
_SHOWN = 3


def udp_sticks(evidence: Evidence) -> Iterator[Finding]:
    """A sender that keeps its port stays with one server for as long as it sends, dead or alive,
    unless each datagram is scheduled (--ops).
    """
    for director in evidence.directors:
        for service in director.ipvs.services if director.ipvs else ():
            assert director.ipvs
            if (
                service.protocol is not Protocol.UDP
                or service.ops
                or sum(each.weight > 0 for each in service.real_servers) < 2
            ):
                continue
            entries = [
                each
                for each in director.ipvs.connections
                if each.protocol == "UDP"
                and (each.virtual.address, each.virtual.port) == (service.address, service.port)
            ]
            lopsided = _lopsided(director, service)
            if not entries or (service.port not in _SAME_PORT and not lopsided):
                continue
            who = (
                f"Senders of {_SAME_PORT[service.port]} keep"
                if service.port in _SAME_PORT
                else "A sender keeps"
            )
            yield Finding(
                "udp-sticks",
                f"{who} one source port, so the director takes all that one sends for one connection and"
                " sends it to one real server, also when that is dead.",
                (
                    *(
                        f"{director.name}: ipvsadm -Lnc: UDP {each.client} -> {each.virtual} ->"
                        f" {each.destination}, {each.expires} s left"
                        for each in entries[:_SHOWN]
                    ),
                    *lopsided,
                    f"{director.name}: {service.name} is no one-packet service",
                ),
                (
                    f"{director.name}# ipvsadm -E {' '.join(service.selector)} -s {service.scheduler} --ops",
                    *_unless_nat(service),
                ),
                Certainty.LIKELY,
            )


def udp_keeps_drained(evidence: Evidence) -> Iterator[Finding]:
    """An entry of UDP is renewed by each datagram whatever the server's weight: only TCP's new
    connections are noticed (is_new_conn, ip_vs_core.c).
    """
    for director in evidence.directors:
        ipvs = director.ipvs
        for service in ipvs.services if ipvs else ():
            assert ipvs
            lifetime = ipvs.timeouts.udp if ipvs.timeouts else _LIFETIME
            for server in service.real_servers:
                kept = [
                    each
                    for each in ipvs.entries_at(server)
                    if each.protocol == "UDP"
                    and (each.virtual.address, each.virtual.port) == (service.address, service.port)
                    and each.expires > lifetime - _FRESH
                ]
                steady = any(each.client.port == each.virtual.port for each in kept)
                if server.weight or service.ops or not (kept and (steady or _lasting(director, service))):
                    continue
                yield Finding(
                    "udp-keeps-drained",
                    f"{server.name} has weight 0 and should run empty, but {plural(len(kept), 'sender')} of"
                    f" {service.name} keep the source port, and each datagram renews the entry by which it"
                    " goes there: it never ends by itself.",
                    (
                        f"{director.name}: {service.name} -> {server.name} weight 0",
                        *(
                            f"{director.name}: ipvsadm -Lnc: UDP {each.client} -> {each.virtual} ->"
                            f" {each.destination}, {each.expires} s of {lifetime} s left"
                            for each in kept[:_SHOWN]
                        ),
                    ),
                    (
                        f"{director.name}# sysctl -w net.ipv4.vs.expire_nodest_conn=1",
                        f"{director.name}# ipvsadm -d {' '.join(service.selector)} -r {server.name}",
                    ),
                    Certainty.LIKELY,
                )


def _lasting(director: Machine, service: VirtualService) -> bool:
    """Whether few entries carry many datagrams."""
    whole = director.ipvs.stats.get((service.name, "")) if director.ipvs else None
    return whole is not None and whole.in_packets >= _MANY * max(whole.conns, 1)


def _unless_nat(service: VirtualService) -> tuple[str, ...]:
    """A warning where the fix would break replies."""
    if not any(each.forwarding is PacketForwarding.MASQ for each in service.real_servers):
        return ()
    return (
        (
            "that suits senders who expect no reply; where they do, use DR or TUN, for NAT does not translate"
            " replies of one-packet services"
        ),
    )


def one_packet_nat(evidence: Evidence) -> Iterator[Finding]:
    """IPVS forgets a datagram of a one-packet service at once, so there is no entry by which a
    reply could be translated back (NAT).

    Senders who expect no reply do not mind, therefore a capture must show replies.
    """
    for each in evidence.destinations():
        if not each.masquerades or not each.service.ops:
            continue
        bare = [
            packet
            for packet in evidence.packets or ()
            if packet.machine == each.director.name and packet.sent and packet.protocol == "UDP"
            if (packet.source, packet.sport) == (each.server.address, each.server.port)
        ]
        if bare:
            packet = bare[0]
            seen = f"{packet.source}:{packet.sport} > {packet.destination}:{packet.dport}"
            yield Finding(
                "one-packet-nat",
                f"{each.service.name} is a one-packet service with masquerading: the servers' replies are not"
                " translated back, and clients get them from an address that they never asked.",
                (
                    f"{each.director.name}: capture: sent on {packet.link}: {seen}",
                    shown(each),
                ),
                (
                    (
                        f"{each.director.name}# ipvsadm -E {' '.join(each.service.selector)} -s"
                        f" {each.service.scheduler}"
                    ),
                    "or reach the servers by DR or TUN, where they reply with the virtual address themselves",
                ),
            )


def _lopsided(director: Machine, service: VirtualService) -> list[str]:
    """A line on how unequal the servers' shares are, if few entries carry many datagrams to one of
    them.
    """
    assert director.ipvs
    whole = director.ipvs.stats.get((service.name, ""))
    shares = {
        each.name: director.ipvs.stats.get((service.name, each.name))
        for each in service.real_servers
        if each.weight
    }
    counted = {name: counters.in_packets for name, counters in shares.items() if counters}
    if not whole or not counted or whole.in_packets < _MANY * max(whole.conns, 1):
        return []
    most = max(counted, key=lambda name: counted[name])
    if counted[most] < _SHARE * whole.in_packets:
        return []
    return [
        f"{director.name}: ipvsadm -Ln --stats: {counted[most]} of {whole.in_packets} datagrams went to"
        f" {most}, by {plural(whole.conns, 'entry', 'entries')}"
    ]
