"""What a doctor must pass over: changes of a healthy lab that only look like faults."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lvslab.doctor.evidence import Evidence
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.reading.ipvs import SyncDaemon
from lvslab.reading.network import Address
from tests.unit.doctor_evidence import (
    COAP,
    DROP_ICMP,
    IDLE,
    REPLY,
    SERVER,
    VIP,
    changed,
    director_alone,
    drained,
    entry,
    machine,
    of_http,
    syn_flood,
    sync_id,
    sync_link,
    with_datagrams,
    with_half_open,
    with_ipvs,
    with_route,
    with_service,
    with_sync,
    with_table,
    without_address,
)

_UDP_TOO = (f"nat -A PREROUTING -d {VIP}/32 -p udp -j REDIRECT",)

# What looks like a fault and is none: (lab, change), nothing must be found.
HARMLESS: dict[str, tuple[str, Callable[[Evidence], Evidence]]] = {
    "ip_forward is 0 in DR": ("dr", lambda e: changed(e, "lvs", sysctls={"net.ipv4.ip_forward": "0"})),
    "another gateway behind source NAT": (
        "fullnat",
        lambda e: with_route(e, "rs1", "10.0.1.11", via="10.0.1.254"),
    ),
    "arp_ignore on the card": (
        "dr",
        lambda e: changed(
            e, "rs1", sysctls={"net.ipv4.conf.all.arp_ignore": "0", "net.ipv4.conf.rs1-eth0.arp_ignore": "1"}
        ),
    ),
    "arptables instead": (
        "dr",
        lambda e: changed(
            e,
            "rs1",
            sysctls={"net.ipv4.conf.all.arp_ignore": "0", "net.ipv4.conf.all.arp_announce": "0"},
            rules=(
                f"arp -A INPUT -d {VIP} -j DROP",
                f"arp -A OUTPUT -s {VIP} -j mangle --mangle-ip-s 10.0.0.11",
            ),
        ),
    ),
    "redirected instead of an address": (
        "dr",
        lambda e: changed(
            without_address(e, "rs1", VIP),
            "rs1",
            rules=(f"nat -A PREROUTING -d {VIP}/32 -p tcp -j REDIRECT", *_UDP_TOO),
        ),
    ),
    "loose rp_filter": ("tun", lambda e: changed(e, "rs1", sysctls={"net.ipv4.conf.tunl0.rp_filter": "2"})),
    "icmp dropped, short segments": (
        "tun",
        lambda e: changed(_short_segments(_short_segments(e, "rs1"), "rs2"), "lvs", rules=DROP_ICMP),
    ),
    "icmp dropped but the one": (
        "tun",
        lambda e: changed(
            e, "lvs", rules=("filter -A OUTPUT -p icmp -m icmp --icmp-type 3/4 -j ACCEPT", *DROP_ICMP)
        ),
    ),
    "drained, nobody remembered": (
        "nat",
        lambda e: with_table(e, of_http(lambda service: replace(drained(service), persistence_timeout=300))),
    ),
    "drained, templates expire": (
        "nat",
        lambda e: changed(
            with_ipvs(
                with_table(e, of_http(lambda service: replace(drained(service), persistence_timeout=300))),
                connections=(
                    entry("NONE", "10.0.1.12:8080", client="10.0.0.101:0"),
                    entry("NONE", SERVER, client="10.0.0.102:0"),
                ),
            ),
            "lvs",
            sysctls={"net.ipv4.vs.expire_quiescent_template": "1"},
        ),
    ),
    "deleted server, connection over": (
        "nat",
        lambda e: with_ipvs(e, connections=(entry("TIME_WAIT", "10.0.1.19:8080"),)),
    ),
    "idle, and the director knows it": (
        "nat",
        lambda e: with_ipvs(
            changed(e, "rs1", sockets=(*machine(e, "rs1").sockets, IDLE)),
            connections=(entry("ESTABLISHED", SERVER, "10.0.0.101:40001"),),
        ),
    ),
    "unknown, but not for that long": (
        "nat",
        lambda e: changed(e, "rs1", sockets=(*machine(e, "rs1").sockets, replace(IDLE, idle=20.0))),
    ),
    "a service that nobody offers and nobody uses": (
        "nat",
        lambda e: with_service(
            e,
            VirtualService(
                Protocol.TCP, VIP, 9999, real_servers=(RealServer("10.0.1.11", 9999, PacketForwarding.MASQ),)
            ),
        ),
    ),
    "one-packet scheduling": ("nat", lambda e: with_datagrams(e, replace(COAP, ops=True))),
    "translated replies": (
        "nat",
        lambda e: replace(with_datagrams(e, replace(COAP, ops=True)), packets=(replace(REPLY, source=VIP),)),
    ),
    "a flood that drop_entry fights": (
        "nat",
        lambda e: changed(
            with_ipvs(e, connections=syn_flood(200)), "lvs", sysctls={"net.ipv4.vs.drop_entry": "3"}
        ),
    ),
    "half-open connections of one client": (
        "nat",
        lambda e: with_ipvs(
            e,
            connections=tuple(entry("SYN_RECV", SERVER, f"10.0.0.101:{port}") for port in range(2000, 2200)),
        ),
    ),
    "a connection that is just being made": (
        "nat",
        lambda e: with_half_open(director_alone(e), "10.0.1.12:8080", count=1),
    ),
    "half-open connections beside others": (
        "nat",
        lambda e: with_ipvs(
            director_alone(e),
            connections=(
                *(entry("SYN_RECV", SERVER, f"10.0.0.101:{port}") for port in (1, 2, 3)),
                entry("ESTABLISHED", SERVER),
            ),
        ),
    ),
    "an IPv6 service": ("nat", lambda e: _ipv6(e)),
    "a pair without sync": ("pair", lambda e: with_sync(with_sync(e, "lvs1"), "lvs2")),
    "both daemons on both": (
        "pair",
        lambda e: with_sync(with_sync(e, "lvs1", *_both(e, "lvs1")), "lvs2", *_both(e, "lvs2")),
    ),
}


def _ipv6(evidence: Evidence) -> Evidence:
    """With an IPv6 service, whose address the director has."""
    outer, *others = machine(evidence, "lvs").links[::-1]
    own = replace(outer, addresses=(*outer.addresses, Address("fd00::10", 64)))
    server = RealServer("fd00::11", 8080, PacketForwarding.MASQ)
    return with_service(
        changed(evidence, "lvs", links=(*others, own)),
        VirtualService(Protocol.TCP, "fd00::10", 80, real_servers=(server,)),
    )


def _both(evidence: Evidence, name: str) -> tuple[SyncDaemon, ...]:
    return tuple(
        SyncDaemon(role, sync_link(evidence, name), sync_id(evidence)) for role in ("master", "backup")
    )


def _short_segments(evidence: Evidence, name: str) -> Evidence:
    paths = {key: replace(path, advmss=1400) for key, path in machine(evidence, name).paths.items() if path}
    return changed(evidence, name, paths=paths)
