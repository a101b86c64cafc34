"""What a doctor must find: a healthy lab with one thing changed, and the fault's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from lvslab.doctor.evidence import Evidence
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService
from lvslab.reading.ipvs import SyncDaemon
from lvslab.reading.network import Neighbour
from lvslab.reading.sockets import Socket
from tests.unit.doctor_evidence import (
    COAP,
    DROP_ICMP,
    IDLE,
    REPLY,
    SECOND,
    SENDER,
    SERVER,
    SNAT,
    TLS,
    VIP,
    as_dns,
    changed,
    director_alone,
    drained,
    entry,
    machine,
    of_http,
    other_link,
    syn_flood,
    sync_id,
    sync_link,
    with_address,
    with_closed_port,
    with_datagrams,
    with_half_open,
    with_ipvs,
    with_marks,
    with_route,
    with_service,
    with_sync,
    with_table,
    with_tunl,
    without_address,
)

BROKEN: dict[str, tuple[str, str, Callable[[Evidence], Evidence]]] = {
    "ip_forward is 0": (
        "nat",
        "ip-forward-off",
        lambda e: changed(
            e,
            "lvs",
            sysctls={
                "net.ipv4.ip_forward": "0",
                **{f"net.ipv4.conf.lvs-eth{number}.forwarding": "0" for number in (0, 1)},
            },
        ),
    ),
    "one link does not forward": (
        "nat",
        "ip-forward-off",
        lambda e: changed(e, "lvs", sysctls={"net.ipv4.conf.lvs-eth1.forwarding": "0"}),
    ),
    "another gateway": (
        "nat",
        "wrong-gateway",
        lambda e: with_route(e, "rs2", "10.0.1.12", via="10.0.1.254"),
    ),
    "no gateway": (
        "nat",
        "wrong-gateway",
        lambda e: changed(e, "rs2", paths={("10.0.1.12", "10.0.0.101"): None}),
    ),
    "client on the link": ("nat", "client-beside-servers", lambda e: with_route(e, "rs1", "10.0.1.11")),
    "a second card": (
        "nat",
        "reply-bypasses-director",
        lambda e: with_route(e, "rs1", "10.0.1.11", link="rs1-eth1"),
    ),
    "vip taken away": ("nat", "vip-not-local", lambda e: without_address(e, "lvs", VIP)),
    "one vip of two": ("nat", "balancer-dead", lambda e: with_service(e, SECOND)),
    "empty table": ("nat", "no-service", lambda e: with_table(e, lambda service: None)),
    "no real server": (
        "nat",
        "no-real-server",
        lambda e: with_table(e, of_http(lambda service: replace(service, real_servers=()))),
    ),
    "all drained": (
        "nat",
        "all-servers-quiescent",
        lambda e: with_table(
            e,
            of_http(
                lambda service: replace(
                    service, real_servers=tuple(replace(each, weight=0) for each in service.real_servers)
                )
            ),
        ),
    ),
    "mark without a rule": (
        "nat",
        "mark-not-set",
        lambda e: with_service(
            e,
            VirtualService(
                Protocol.FWMARK, fwmark=1, real_servers=(RealServer("10.0.1.11", 0, PacketForwarding.MASQ),)
            ),
        ),
    ),
    "two rules for one mark": (
        "nat",
        "mark-set-twice",
        lambda e: with_marks(e, ("--dport 8021", 7), ("--dport 8021", 9), servers={7: "10.0.1.11", 9: ""}),
    ),
    "a mark that nobody serves": (
        "nat",
        "mark-without-service",
        lambda e: with_marks(e, ("--dport 8021", 7), ("--dport 9100", 8), servers={7: "10.0.1.11"}),
    ),
    "masqueraded to lo": (
        "nat",
        "masquerade-to-loopback",
        lambda e: with_table(
            e,
            of_http(
                lambda service: replace(
                    service,
                    real_servers=(
                        *service.real_servers,
                        RealServer("127.0.0.1", 80, PacketForwarding.MASQ),
                    ),
                )
            ),
        ),
    ),
    "nobody of a pair has the vip": (
        "pair",
        "vip-held-by-none",
        lambda e: without_address(without_address(e, "lvs1", VIP), "lvs2", VIP),
    ),
    "both of a pair have the vip": (
        "pair",
        "vip-held-twice",
        lambda e: with_address(with_address(e, "lvs1", VIP), "lvs2", VIP),
    ),
    "drained, and a sender goes on": (
        "nat",
        "udp-keeps-drained",
        lambda e: with_ipvs(
            with_datagrams(e, drained(COAP)),
            connections=(SENDER,),
        ),
    ),
    "arp_ignore is 0": (
        "dr",
        "arp-flux",
        lambda e: changed(e, "rs1", sysctls={"net.ipv4.conf.all.arp_ignore": "0"}),
    ),
    "arp_ignore on lo alone": (
        "dr",
        "arp-flux",
        lambda e: changed(
            e, "rs1", sysctls={"net.ipv4.conf.all.arp_ignore": "0", "net.ipv4.conf.lo.arp_ignore": "1"}
        ),
    ),
    "arp_announce is 0": (
        "dr",
        "arp-flux",
        lambda e: changed(e, "rs2", sysctls={"net.ipv4.conf.all.arp_announce": "0"}),
    ),
    "server without vip": ("dr", "vip-missing-on-server", lambda e: without_address(e, "rs1", VIP)),
    "tunl0 down": ("tun", "tunnel-down", lambda e: with_tunl(e, up=False)),
    "strict rp_filter": (
        "tun",
        "tunnel-rp-filter",
        lambda e: changed(e, "rs1", sysctls={"net.ipv4.conf.tunl0.rp_filter": "1"}),
    ),
    "icmp dropped": ("tun", "tunnel-mtu", lambda e: changed(e, "lvs", rules=DROP_ICMP)),
    "dr on another port": (
        "dr",
        "port-mapping-without-nat",
        lambda e: with_closed_port(with_closed_port(e, "rs1", 80), "rs2", 80),
    ),
    "one server's port closed": ("nat", "wrong-server-port", lambda e: with_closed_port(e, "rs1", 8080)),
    "one server's ports closed": (
        "nat",
        "server-port-dead",
        lambda e: with_closed_port(with_closed_port(e, "rs1", 8080), "rs1", 80),
    ),
    "https to the http port": (
        "nat",
        "wrong-server-port",
        lambda e: with_service(
            changed(
                e,
                "rs1",
                sockets=(*machine(e, "rs1").sockets, Socket("tcp", Endpoint("0.0.0.0", 443), None, "LISTEN")),
            ),
            TLS,
        ),
    ),
    "dns over udp alone": ("nat", "protocol-missing", lambda e: with_table(e, as_dns)),
    "deleted server": (
        "nat",
        "deleted-server-swallows",
        lambda e: with_ipvs(e, connections=(entry("ESTABLISHED", "10.0.1.19:8080"),)),
    ),
    "drained and persistent": (
        "nat",
        "persistence-keeps-drained",
        lambda e: with_ipvs(
            with_table(e, of_http(lambda service: replace(drained(service), persistence_timeout=300))),
            connections=(
                entry("NONE", "10.0.1.12:8080", client="10.0.0.101:0"),
                entry("NONE", SERVER, client="10.0.0.102:0"),
            ),
        ),
    ),
    "conn_reuse_mode is 0": (
        "nat",
        "reused-port-pinned",
        lambda e: changed(
            with_table(e, of_http(drained)), "lvs", sysctls={"net.ipv4.vs.conn_reuse_mode": "0"}
        ),
    ),
    "idle for too long": (
        "nat",
        "idle-timeout",
        lambda e: changed(e, "rs1", sockets=(*machine(e, "rs1").sockets, IDLE)),
    ),
    "coap from one port": ("nat", "udp-sticks", lambda e: with_datagrams(e, COAP)),
    "replies of a one-packet service": (
        "nat",
        "one-packet-nat",
        lambda e: replace(with_datagrams(e, replace(COAP, ops=True)), packets=(REPLY,)),
    ),
    "no backup daemon": ("pair", "sync-off", lambda e: with_sync(e, "lvs2")),
    "another syncid": (
        "pair",
        "sync-mismatch",
        lambda e: with_sync(e, "lvs2", SyncDaemon("backup", sync_link(e, "lvs2"), 77)),
    ),
    "another link": (
        "pair",
        "sync-mismatch",
        lambda e: with_sync(e, "lvs2", SyncDaemon("backup", other_link(e, "lvs2"), sync_id(e))),
    ),
    "no tracking": (
        "fullnat",
        "conntrack-off",
        lambda e: changed(e, "lvs", sysctls={"net.ipv4.vs.conntrack": "0"}),
    ),
    "local address gone": (
        "fullnat",
        "local-address-missing",
        lambda e: without_address(e, "lvs", "10.0.1.202"),
    ),
    "ports used up": (
        "fullnat",
        "local-ports-exhausted",
        lambda e: with_ipvs(
            changed(e, "lvs", rules=(SNAT,)),
            connections=tuple(
                entry("ESTABLISHED", "10.0.1.11:8080", f"10.0.0.101:{port}") for port in range(3000, 3032)
            ),
        ),
    ),
    "tracking full": (
        "fullnat",
        "conntrack-full",
        lambda e: changed(e, "lvs", counts={"nf_conntrack_count": 262144}),
    ),
    "proxy without notrack": (
        "synproxy",
        "syn-proxy-half",
        lambda e: changed(
            e, "lvs", rules=tuple(each for each in machine(e, "lvs").rules if not each.startswith("raw -A"))
        ),
    ),
    "notrack without proxy": (
        "synproxy",
        "syn-proxy-half",
        lambda e: changed(
            e, "lvs", rules=tuple(each for each in machine(e, "lvs").rules if "-j SYNPROXY" not in each)
        ),
    ),
    "a server asks itself": (
        "nat",
        "hairpin",
        lambda e: with_ipvs(e, connections=(entry("SYN_RECV", "10.0.1.12:8080", "10.0.1.11:4000"),)),
    ),
    "nothing comes back": (
        "nat",
        "wrong-gateway",
        lambda e: with_half_open(director_alone(e), "10.0.1.12:8080"),
    ),
    "nothing comes back, server gone": (
        "nat",
        "server-unreachable",
        lambda e: changed(
            with_half_open(director_alone(e), "10.0.1.12:8080"),
            "lvs",
            neighbours=(Neighbour("10.0.1.12", "", "lvs-eth1", "FAILED"),),
        ),
    ),
    "no handshake in DR": (
        "dr",
        "server-silent",
        lambda e: with_half_open(director_alone(e), "10.0.0.12:80"),
    ),
    "a flood": ("nat", "syn-flood", lambda e: with_ipvs(e, connections=syn_flood(200))),
}
