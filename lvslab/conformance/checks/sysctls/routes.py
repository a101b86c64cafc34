"""Answers and ways: nat_icmp_send, cache_bypass, ignore_tunneled, snat_reroute and others."""

from __future__ import annotations

from scapy.layers.inet import TCP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, ROUTER_MAC, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.entries import (
    awaited,
    chosen,
    is_port_unreachable,
    load,
    must_refuse,
    must_reset,
    shown,
    tcp,
    tcp_reply,
    udp,
    udp_reply,
)
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import VERSIONS
from lvslab.conformance.verdict import CheckSkipped
from lvslab.conformance.ways import patch_level
from lvslab.ipvs.service import Protocol

_CLOUD = "192.0.2.10"


@check(
    "sysctl:nat_icmp_send:{protocol}:ipv{version}",
    "a real server's {protocol} packet without a connection is answered with ICMP port unreachable with"
    " nat_icmp_send=1 and forwarded as it is with 0",
    tags=("nat", "icmp", "ipv{version}"),
    each=[{"protocol": protocol, "version": version} for protocol in ("tcp", "udp") for version in VERSIONS],
)
def nat_icmp_send(bench: Bench, protocol: str, version: int) -> None:
    client = bench.client(version)
    bench.service(protocol=Protocol(protocol), port=bench.port(), version=version, weights=(1,))
    packet = tcp_reply(1, client, "A") if protocol == "tcp" else udp_reply(1, client)
    plain = bench.from_server(1, packet).one("outside", "with nat_icmp_send=0")
    must(
        plain.payload.src == NETS[version].server(1),
        "it keeps the real server's address",
        f"seen: {plain.summary()}",
    )
    bench.sysctl("net.ipv4.vs.nat_icmp_send", 1)
    answer = bench.from_server(1, packet).one("inside", "with nat_icmp_send=1")
    must(is_port_unreachable(answer), "ICMP port unreachable to the real server", f"seen: {answer.summary()}")
    must(
        answer.payload.dst == NETS[version].server(1),
        "it goes to the real server",
        f"seen: {answer.summary()}",
    )
    # Only for the address, port and protocol of a known real server, and never for a RST.
    bench.from_server(1, tcp_reply(1, client, "R")).one("outside", "a RST")
    stranger = tcp_reply(2, client, "A") if protocol == "tcp" else udp_reply(2, client)
    bench.from_server(2, stranger).one("outside", "a host that is no real server")
    other = tcp_reply(1, client, "A", sport=9) if protocol == "tcp" else udp_reply(1, client, sport=9)
    bench.from_server(1, other).one("outside", "another port of the real server")


@check(
    "sysctl:cache_bypass",
    "a packet of a firewall-mark service without real servers goes on to its own destination with"
    " cache_bypass=1 and is dropped with 0, without a word, because the director has no such address to send"
    " an ICMP error from",
    tags=("fwmark",),
)
def cache_bypass(bench: Bench) -> None:
    net, mark, port, client = NETS[4], bench.mark(), bench.port(), bench.client()
    bench.rule(f"-t mangle -A PREROUTING -d {_CLOUD} -p tcp --dport {port} -j MARK --set-mark {mark}")
    bench.apply(
        f"ip rule add fwmark {mark} lookup 4711 && ip route add local default dev lo table 4711",
        f"ip rule del fwmark {mark} lookup 4711; ip route flush table 4711",
    )
    bench.service(protocol=Protocol.FWMARK, fwmark=mark, weights=())
    packet = net.packet(client, _CLOUD) / TCP(sport=40000, dport=port, flags="S")
    # ip_vs_leave does call icmp_send, but net/ipv4/route.c (ip_route_output_key_hash_rcu) wants a
    # local source address.
    bench.from_client(packet).nothing("with cache_bypass=0")
    bench.sysctl("net.ipv4.vs.cache_bypass", 1)
    sent = bench.framed(packet, ROUTER_MAC, bench.outside.mac)

    def onward(frame: Packet) -> None:
        frame.src, frame.dst = bench.outside.mac, ROUTER_MAC
        frame.payload.ttl -= 1

    seen = bench.from_client(packet).one("outside", "with cache_bypass=1")
    must_equal(seen, changed(sent, onward), "the packet on its way to its own destination")


@check(
    "sysctl:cache_bypass:by-address",
    "cache_bypass is for firewall-mark services: a service by address without real servers answers port"
    " unreachable even so",
)
def cache_bypass_address(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.cache_bypass", 1)
    port = bench.port()
    bench.service(port=port, weights=())
    must_refuse(bench.from_client(tcp(bench.client(), port)), "a service by address")


_SCRUBBED = {(6, 1): 130, (6, 6): 81, (6, 12): 18, (6, 13): 6}
"""First stable release of a series that has the commit of `ignore_tunneled`; mainline has it since
6.14.
"""


@check(
    "sysctl:ignore_tunneled",
    "a SYN to the VIP out of an IP-in-IP tunnel is balanced with ignore_tunneled=0; with 1 it is left to the"
    " director before Linux 6.14 and 6.1.130, and is balanced all the same since then",
    tags=("ipip",),
)
def ignore_tunneled(bench: Bench) -> None:
    # ip_vs_in marks packets of a protocol that IPVS does not know with ipvs_property, and their
    # contents used to keep the mark. Commit de2c211868b9 "ipvs: Always clear ipvs_property flag in
    # skb_scrub_packet()" takes it away when the tunnel unpacks them.
    series, patch = patch_level(bench.version)
    if series < (6, 1) or (series < (6, 14) and series not in _SCRUBBED):
        raise CheckSkipped(
            f"it is not known whether kernel {bench.version} has the commit de2c211868b9 that this depends on"
        )
    scrubbed = series >= (6, 14) or patch >= _SCRUBBED[series]
    net, port = NETS[4], bench.port()
    load(bench, "ipip")
    bench.apply("ip link set tunl0 up", "ip link set tunl0 down")
    for path in ("all", "tunl0"):
        bench.sysctl(f"net.ipv4.conf.{path}.rp_filter", 0)
    bench.service(port=port)

    def tunneled() -> Seen:
        return bench.from_client(net.packet(net.router, net.vip) / tcp(bench.client(), port))

    tunneled().one("inside", "with ignore_tunneled=0")
    bench.sysctl("net.ipv4.vs.ignore_tunneled", 1)
    if scrubbed:
        tunneled().one("inside", "with ignore_tunneled=1, which has lost its effect")
    else:
        must_reset(tunneled(), "with ignore_tunneled=1")
    chosen(bench, tcp(bench.client(), port), what="a packet that was not tunneled")


@check(
    "sysctl:backup_only",
    "a director with a backup sync daemon, even with a master one beside it, does not balance with"
    " backup_only=1; with 0, or without the daemon, it does",
    tags=("sync",),
)
def backup_only(bench: Bench) -> None:
    port = bench.port()
    bench.service(port=port)
    interface = bench.lab.plan.director.interfaces[1].name
    bench.sysctl("net.ipv4.vs.backup_only", 1)
    chosen(bench, tcp(bench.client(), port), what="backup_only=1 without a daemon")
    bench.apply(
        f"ipvsadm --start-daemon backup --mcast-interface {interface}", "ipvsadm --stop-daemon backup"
    )
    must_reset(bench.from_client(tcp(bench.client(), port)), "backup_only=1 with the backup daemon")
    # sysctl_backup_only in ip_vs.h: "sync_state & IP_VS_STATE_BACKUP", whatever else the state has.
    bench.apply(
        f"ipvsadm --start-daemon master --mcast-interface {interface}", "ipvsadm --stop-daemon master"
    )
    must_reset(bench.from_client(tcp(bench.client(), port)), "backup_only=1 with both daemons")
    bench.sysctl("net.ipv4.vs.backup_only", 0)
    chosen(bench, tcp(bench.client(), port), what="backup_only=0 with both daemons")


@check(
    "sysctl:snat_reroute:{mode}:ipv{version}",
    "with snat_reroute={value} a NAT reply takes the way of {whose} address",
    tags=("nat", "ipv{version}"),
    each=[
        {"mode": mode, "value": value, "whose": whose, "version": version}
        for mode, value, whose in (("on", 1, "the VIP's"), ("off", 0, "the real server's"))
        for version in VERSIONS
    ],
)
def snat_reroute(bench: Bench, mode: str, value: int, whose: str, version: int) -> None:
    # ip_vs_route_me_harder after the source address was changed.
    net, port, client = NETS[version], bench.port(), bench.client(version)
    bench.sysctl("net.ipv4.vs.snat_reroute", value)
    command = f"ip -{version}"
    bench.apply(
        f"{command} rule add from {net.vip} lookup 4712 && {command} route add default via {net.server(8)}"
        " table 4712",
        f"{command} rule del from {net.vip} lookup 4712; {command} route flush table 4712",
    )
    bench.service(port=port, version=version, weights=(1,))
    chosen(bench, tcp(client, port))
    seen = bench.from_server(1, tcp_reply(1, client))
    if not value:
        must(seen.one("outside", "the reply").dst == ROUTER_MAC, "the reply goes to the router", *shown(seen))
        return
    frame = seen.one("inside", "the reply")
    must(frame.dst == server_mac(8), "the reply goes to the gateway for the VIP", f"seen: {frame.summary()}")
    must(frame.payload.src == net.vip, "the reply comes from the VIP", f"seen: {frame.summary()}")


@check(
    "sysctl:run_estimation",
    "with run_estimation=0 counters stand still, because the kernel's timer no longer adds them up; with 1"
    " nothing is lost",
    tags=("counters", "timer"),
)
def run_estimation(bench: Bench) -> None:
    port, other = bench.port(), bench.port()
    bench.sysctl("net.ipv4.vs.run_estimation", 0)
    bench.service(protocol=Protocol.UDP, port=port)
    bench.service(protocol=Protocol.UDP, port=other)
    chosen(bench, *[udp(bench.client(), port)] * 3)
    # The timer fires every 2 s; with it, 2.5 s would show the packets.
    must(not awaited(lambda: _in_packets(bench, port) > 0, 2.5), "the counters moved with run_estimation=0")
    bench.sysctl("net.ipv4.vs.run_estimation", 1)
    must(
        awaited(lambda: _in_packets(bench, port) == 3),
        "the three packets did not appear with run_estimation=1",
    )
    must(_in_packets(bench, other) == 0, "the other service counts nothing")


def _in_packets(bench: Bench, port: int) -> int:
    return next(each.in_packets for each in bench.ipvsadm.list_stats() if each.service.endswith(f":{port}"))
