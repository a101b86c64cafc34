"""What each parameter in /proc/sys/net/ipv4/vs changes, on and off.

Facts: Documentation/networking/ipvs-sysctl.rst and, where it is silent or wrong, Linux 6.1's
ip_vs_core.c, ip_vs_ctl.c, ip_vs_conn.c. secure_tcp is in states.py, expire_quiescent_template in
persistence.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

from scapy.layers.inet import TCP
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit

from lvslab.conformance.check import check
from lvslab.conformance.entries import (
    awaited,
    chosen,
    entries,
    entry,
    is_port_unreachable,
    load,
    must_choose,
    must_refuse,
    must_reset,
    server_of,
    shown,
    tcp,
    tcp_reply,
    udp,
    udp_reply,
)
from lvslab.conformance.packets import changed, must, must_equal
from lvslab.conformance.testbed import NETS, ROUTER_MAC, Bench, Seen, server_mac
from lvslab.conformance.variants import VERSIONS
from lvslab.conformance.verdict import CheckSkipped
from lvslab.ipvs.service import Protocol

_VS = "net.ipv4.vs."
_CLOUD = "192.0.2.10"


# -- connections that outlive what they were made for ----------------------------------------------


@check(
    "sysctl:conn_reuse_mode:{value}:{state}",
    "with conn_reuse_mode={value} a SYN that reuses a connection in {state} {does}",
    each=[
        {
            "value": value,
            "state": state,
            "does": "is scheduled anew" if again else "goes to its old real server",
        }
        for value, state, again in (
            (0, "TIME_WAIT", False),
            (0, "CLOSE", False),
            (0, "FIN_WAIT", False),
            (1, "TIME_WAIT", True),
            (1, "CLOSE", True),
            (1, "FIN_WAIT", False),
            (1, "ESTABLISHED", False),
            (1, "SYN_RECV", False),
            (2, "TIME_WAIT", True),
            (2, "CLOSE", True),
            (2, "FIN_WAIT", True),
            (2, "ESTABLISHED", False),
        )
    ],
)
def conn_reuse(bench: Bench, value: int, state: str, does: str) -> None:
    # is_new_conn_expected: TIME_WAIT and CLOSE; FIN_WAIT with bit 1 and only where the reply is not
    # seen, so DR it is. Value 2 alone suffices for TIME_WAIT as well: any value but 0 does.
    bench.sysctl(_VS + "conn_reuse_mode", value)
    port, client = bench.port(), bench.client()
    bench.service("dr", port=port)
    story = {
        "SYN_RECV": "S",
        "ESTABLISHED": "S A",
        "FIN_WAIT": "S A FA",
        "TIME_WAIT": "S FA",
        "CLOSE": "S A R",
    }[state].split()
    start = chosen(bench, *(tcp(client, port, flags) for flags in story))[0]
    must(entry(bench, client, "to start from").state == state, f"the connection is not in {state}")
    must_choose(
        chosen(bench, tcp(client, port, seq=777777)),
        [3 - start if "anew" in does else start],
        f"a SYN in {state}",
    )


@check(
    "sysctl:conn_reuse_mode:nat-fin-wait",
    "with conn_reuse_mode=2 a NAT connection in FIN_WAIT is not scheduled anew: the director has seen the"
    " server's side of it",
)
def conn_reuse_nat(bench: Bench) -> None:
    bench.sysctl(_VS + "conn_reuse_mode", 2)
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    start = chosen(bench, tcp(client, port))[0]
    bench.from_server(start, tcp_reply(start, client))
    chosen(bench, tcp(client, port, "A"))
    bench.from_server(start, tcp_reply(start, client, "FA"))
    must(entry(bench, client, "to start from").state == "FIN_WAIT", "the connection is not in FIN_WAIT")
    must_choose(chosen(bench, tcp(client, port, seq=777777)), [start], "a SYN in FIN_WAIT")


@check(
    "sysctl:conn_reuse_mode:conntrack",
    "with conntrack=1 and conn_reuse_mode=1 a reused port in TIME_WAIT is scheduled anew at once since Linux"
    " 5.9 (before: the SYN was lost)",
)
def conn_reuse_conntrack(bench: Bench) -> None:
    # "ipvs: allow connection reuse for unconfirmed conntrack" (5.9): netfilter has made a new,
    # unconfirmed entry for that SYN.
    bench.sysctl(_VS + "conntrack", 1)
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    start = chosen(bench, tcp(client, port))[0]
    bench.from_server(start, tcp_reply(start, client, "SA", seq=5000))
    chosen(bench, tcp(client, port, "A", seq=1001, ack=5001), tcp(client, port, "FA", seq=1001, ack=5001))
    fin = tcp_reply(start, client, "FA", seq=5001)
    fin["TCP"].ack = 1002
    bench.from_server(start, fin)
    chosen(bench, tcp(client, port, "A", seq=1002, ack=5002))
    must(entry(bench, client, "to start from").state == "TIME_WAIT", "the connection is not in TIME_WAIT")
    again = bench.from_client(tcp(client, port, seq=900000000))
    if _release(bench)[0] < (5, 9):
        again.nothing("the SYN that reuses the port, before Linux 5.9")
        return
    must_choose(
        [server_of(again.one("inside", "the SYN that reuses the port"))],
        [3 - start],
        "the SYN that reuses the port",
    )


@check(
    "sysctl:expire_nodest_conn:off",
    "with expire_nodest_conn=0 packets of a connection whose real server was removed are dropped without a"
    " word, and its entry stays",
)
def nodest_off(bench: Bench) -> None:
    client, port, start = _orphan(bench)
    bench.from_client(tcp(client, port, "A")).nothing("a segment of the orphaned connection")
    bench.from_client(tcp(client, port)).nothing("a SYN of the same client port")
    entry(bench, client, "afterwards")
    must_choose(chosen(bench, tcp(client, port, sport=40001)), [3 - start], "another port of the client")


@check(
    "sysctl:expire_nodest_conn:on",
    "with expire_nodest_conn=1 the entries of a removed real server go by themselves, the client's next"
    " segment gets a RST and its next SYN another real server",
    tags=("timer",),
)
def nodest_on(bench: Bench) -> None:
    bench.sysctl(_VS + "expire_nodest_conn", 1)
    client, port, start = _orphan(bench)
    must_reset(bench.from_client(tcp(client, port, "A")), "a segment of the orphaned connection")
    must(awaited(lambda: not entries(bench, client), 3), "the entry of the removed real server has not gone")
    must_choose(chosen(bench, tcp(client, port)), [3 - start], "a SYN of the same client port")


@check(
    "sysctl:expire_nodest_conn:syn",
    "with expire_nodest_conn=1 a SYN is the first packet after the real server's removal: it is scheduled to"
    " another one at once",
)
def nodest_syn(bench: Bench) -> None:
    bench.sysctl(_VS + "expire_nodest_conn", 1)
    client, port, start = _orphan(bench)
    must_choose(chosen(bench, tcp(client, port)), [3 - start], "the SYN")


@check(
    "sysctl:expire_nodest_conn:weight-0:{mode}",
    "a SYN that reuses the port of an ESTABLISHED connection {does} when its real server has weight 0 and"
    " expire_nodest_conn={value}",
    each=[
        {"mode": "off", "value": 0, "does": "stays with its real server"},
        {"mode": "on", "value": 1, "does": "is scheduled anew"},
    ],
)
def nodest_weight(bench: Bench, mode: str, value: int, does: str) -> None:
    bench.sysctl(_VS + "expire_nodest_conn", value)
    port, client = bench.port(), bench.client()
    service = bench.service(port=port)
    start = chosen(bench, tcp(client, port), tcp(client, port, "A"))[0]
    bench.ipvsadm.edit_server(service, replace(service.real_servers[start - 1], weight=0))
    must_choose(chosen(bench, tcp(client, port, "A")), [start], "a segment of the connection")
    must_choose(chosen(bench, tcp(client, port, seq=777777)), [3 - start if value else start], "the SYN")


def _orphan(bench: Bench) -> tuple[str, int, int]:
    """A connection whose real server has been removed: its client, its port, the number of the
    server.
    """
    port, client = bench.port(), bench.client()
    service = bench.service(port=port)
    start = chosen(bench, tcp(client, port), tcp(client, port, "A"))[0]
    bench.ipvsadm.delete_server(service, service.real_servers[start - 1])
    return client, port, start


# -- what may begin a connection -------------------------------------------------------------------


@check(
    "sysctl:sloppy_tcp:{value}:{flags}",
    "with sloppy_tcp={value} a {flags} segment of an unknown connection {does}",
    tags=("tcp",),
    each=[
        {"value": value, "flags": flags, "does": "begins one" if taken else "is not scheduled"}
        for value, flags, taken in (
            (0, "A", False),
            (0, "FA", False),
            (0, "R", False),
            (0, "S", True),
            (0, "SA", True),
            (1, "A", True),
            (1, "FA", True),
            (1, "R", False),
            (1, "S", True),
        )
    ],
)
def sloppy_tcp(bench: Bench, value: int, flags: str, does: str) -> None:
    # tcp_conn_schedule: "(sysctl_sloppy_tcp && !rst) || syn"; there is no look at ACK, so that
    # active FTP's SYN-ACK is taken.
    bench.sysctl(_VS + "sloppy_tcp", value)
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    seen = bench.from_client(tcp(client, port, flags, ack=5001))
    if does == "begins one":
        seen.one("inside", f"a {flags} segment")
        states = {"A": "ESTABLISHED", "FA": "CLOSE", "S": "SYN_RECV", "SA": "SYN_RECV"}
        state = entry(bench, client, "afterwards").state
        must(state == states[flags], f"its entry is in {states[flags]}", f"seen: {state}")
        return
    if flags == "R":
        seen.nothing("a RST")
    else:
        must_reset(seen, f"a {flags} segment")
    must(not entries(bench, client), "there is a connection entry")


@check(
    "sysctl:sloppy_sctp:{mode}",
    "with sloppy_sctp={value} a DATA chunk of an unknown association {does}",
    tags=("sctp",),
    each=[
        {"mode": "off", "value": 0, "does": "is not scheduled"},
        {"mode": "on", "value": 1, "does": "begins one"},
    ],
)
def sloppy_sctp(bench: Bench, mode: str, value: int, does: str) -> None:
    bench.sysctl(_VS + "sloppy_sctp", value)
    port, client, net = bench.port(), bench.client(), NETS[4]
    bench.service(protocol=Protocol.SCTP, port=port)
    packet = net.packet(client, net.vip) / SCTP(sport=40000, dport=port, tag=2)
    must(
        bool(bench.from_client(packet / SCTPChunkData(data=b"lvs!")).inside) == bool(value),
        f"the DATA chunk {does}",
    )
    other = (
        net.packet(bench.client(), net.vip) / SCTP(sport=40000, dport=port, tag=0) / SCTPChunkInit(init_tag=1)
    )
    bench.from_client(other).one("inside", "an INIT chunk")


# -- defence ---------------------------------------------------------------------------------------


@check(
    "sysctl:drop_packet:rate-{rate}",
    "with drop_packet=3 exactly every {rate}th new connection is dropped (am_droprate) and no packet of an"
    " existing one; with 0 none",
    each=[{"rate": 1}, {"rate": 3}, {"rate": 5}],
)
def drop_packet(bench: Bench, rate: int) -> None:
    # ip_vs_todrop counts down from drop_rate; update_defense_level sets it when the parameter is
    # written.
    port, old, number = bench.port(), bench.client(), 15
    bench.service(port=port, weights=(1,))
    chosen(bench, tcp(old, port))
    bench.sysctl(_VS + "am_droprate", rate)
    bench.sysctl(_VS + "drop_packet", 3)
    clients = [bench.client() for _ in range(number)]
    seen = bench.from_client(*(tcp(client, port) for client in clients))
    must(not seen.outside, "a dropped connection is not answered", *shown(seen))
    passed = {frame.payload.src for frame in seen.inside}
    dropped = [place for place, client in enumerate(clients) if client not in passed]
    must(
        len(dropped) == number // rate,
        f"{number // rate} of {number} connections must be dropped, {len(dropped)} were",
        f"dropped: {dropped}",
    )
    must(
        all(after - before == rate for before, after in pairwise(dropped)),
        f"every {rate}th connection must be dropped, not others",
        f"dropped: {dropped}",
    )
    chosen(bench, *[tcp(old, port, "A")] * 4, what="segments of an existing connection")
    bench.run("echo 0 >/proc/sys/net/ipv4/vs/drop_packet")
    chosen(bench, *(tcp(bench.client(), port) for _ in range(5)), what="new connections with drop_packet=0")


@check(
    "sysctl:drop_packet:auto",
    "drop_packet=1 drops nothing while memory suffices; with too little of it (amemthresh) it drops new"
    " connections and shows itself as 2",
)
def drop_packet_auto(bench: Bench) -> None:
    # update_defense_level: drop_rate = amemthresh / (amemthresh - available), which is 1 when
    # amemthresh is far above what is there.
    port = bench.port()
    bench.service(port=port)
    bench.sysctl(_VS + "amemthresh", 1)
    bench.sysctl(_VS + "drop_packet", 1)
    chosen(bench, *(tcp(bench.client(), port) for _ in range(5)), what="new connections with enough memory")
    bench.run(
        "cd /proc/sys/net/ipv4/vs; echo 0 >drop_packet; echo 1000000000 >amemthresh; echo 1 >drop_packet"
    )
    bench.from_client(*(tcp(bench.client(), port) for _ in range(5))).nothing(
        "new connections with too little memory"
    )
    value = bench.run("cat /proc/sys/net/ipv4/vs/drop_packet").strip()
    must(value == "2", "drop_packet must go from 1 to 2", f"seen: {value}")


@check(
    "sysctl:drop_entry",
    "with drop_entry=3 half-open connections are thrown away at random, second by second, and no established"
    " one; with 0 all stay",
    tags=("timer",),
)
def drop_entry(bench: Bench) -> None:
    # ip_vs_random_dropentry looks at 1/32 of the table each second: 300 entries lose some 9 a
    # second, all survive with 1 in 10 000.
    port, number = bench.port(), 300
    bench.service(port=port, weights=(1,))
    half, whole = bench.client(), bench.client()
    bench.from_client(*(tcp(half, port, sport=10000 + each) for each in range(number)))
    bench.from_client(
        *(tcp(whole, port, flags, sport=10000 + each) for each in range(30) for flags in ("S", "A"))
    )
    must(len(entries(bench, half)) == number, f"{number} half-open connections were expected at first")
    bench.sysctl(_VS + "drop_entry", 3)
    must(
        awaited(lambda: len(entries(bench, half)) < number, 6),
        "no half-open connection was thrown away within 6 s",
    )
    must(len(entries(bench, whole)) == 30, "an established connection was thrown away")
    bench.run("echo 0 >/proc/sys/net/ipv4/vs/drop_entry")


# -- answers and ways ------------------------------------------------------------------------------


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
    bench.sysctl(_VS + "nat_icmp_send", 1)
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
    bench.sysctl(_VS + "cache_bypass", 1)
    sent = bench.framed(packet, ROUTER_MAC, bench.outside.mac)

    def onward(frame: Any) -> None:
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
    bench.sysctl(_VS + "cache_bypass", 1)
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
    series, patch = _release(bench)
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
    bench.sysctl(_VS + "ignore_tunneled", 1)
    if scrubbed:
        tunneled().one("inside", "with ignore_tunneled=1, which has lost its effect")
    else:
        must_reset(tunneled(), "with ignore_tunneled=1")
    chosen(bench, tcp(bench.client(), port), what="a packet that was not tunneled")


def _release(bench: Bench) -> tuple[tuple[int, int], int]:
    """The kernel's series and patch level: "6.1.176" is ((6, 1), 176)."""
    numbers = [int(word) for word in re.findall(r"[0-9]+", bench.version)[:3]]
    return (numbers[0], numbers[1]), numbers[2] if len(numbers) > 2 else 0


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
    bench.sysctl(_VS + "backup_only", 1)
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
    bench.run("echo 0 >/proc/sys/net/ipv4/vs/backup_only")
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
    bench.sysctl(_VS + "snat_reroute", value)
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
    bench.sysctl(_VS + "run_estimation", 0)
    bench.service(protocol=Protocol.UDP, port=port)
    bench.service(protocol=Protocol.UDP, port=other)
    chosen(bench, *[udp(bench.client(), port)] * 3)
    # The timer fires every 2 s; with it, 2.5 s would show the packets.
    must(not awaited(lambda: _in_packets(bench, port) > 0, 2.5), "the counters moved with run_estimation=0")
    bench.run("echo 1 >/proc/sys/net/ipv4/vs/run_estimation")
    must(
        awaited(lambda: _in_packets(bench, port) == 3, 5),
        "the three packets did not appear with run_estimation=1",
    )
    must(_in_packets(bench, other) == 0, "the other service counts nothing")


def _in_packets(bench: Bench, port: int) -> int:
    return next(each.in_packets for each in bench.ipvsadm.list_stats() if each.service.endswith(f":{port}"))
