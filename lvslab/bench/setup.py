"""A measurement as files for the measured kernel: batches for ip, tc, ipvsadm, iptables-restore and
sysctl, and pktgen's commands.

Three network namespaces: the first holds the packet generator's device `g`; `d` is the director
with `d0` (outer side) and `d1` (inner side); `r` holds `r0`, where everything that arrives is
counted by what it must look like, and ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvslab.bench.layout import (
    FIRST_SOURCE_PORT,
    GENERATOR_MAC,
    INNER_MAC,
    OUTER_MAC,
    SERVER_MAC,
    SERVER_MAC_PREFIX,
    SERVER_PORT,
    SERVICE_PORT,
    Addresses,
    addresses,
    flows,
    server_mac,
    words,
)
from lvslab.bench.measurements import ESTABLISHED, FORWARDING, NEW, PACKETS, ROUNDS, Handling, Measurement

_NUMBER = {"tcp": 6, "udp": 17}
_SYN, _ACK = 0x02, 0x10


@dataclass(frozen=True)
class Pass:
    """Packets sent in one go.

    Attributes:
        phase: one of `PHASES`, or "fill" or "ack" where nothing is measured.
        group: which flows; those of two groups are distinct.
        flows: how many there are.
        flags: TCP flags of the packets; 0 for UDP.
    """

    phase: str
    round: int
    packets: int
    group: int
    flows: int
    flags: int

    @property
    def name(self) -> str:
        return f"{self.phase}.{self.round}"


def passes(measurement: Measurement) -> tuple[Pass, ...]:
    """What is sent, in order: new connections before established ones; a TCP connection is
    established by an ACK for each SYN.

    The passes of established connections all take the same ones. A connection's timer is moved in
    the kernel's timer wheel when its new time falls into another slot, and a slot is 16 s long
    (kernel/time/timer.c): after the first pass that happens in one pass at most.
    """
    tcp = measurement.traffic.protocol == "tcp"
    syn, ack = (_SYN, _ACK) if tcp else (0, 0)
    each = measurement.connections // ROUNDS
    fresh = [Pass(NEW, n, each, n + 1, each, syn) for n in range(ROUNDS)]
    if measurement.existing:
        made = [Pass("fill", 0, measurement.existing, 0, measurement.existing, syn)]
    else:
        made = list(fresh) if NEW in measurement.phases else []
    known = (made or fresh)[0]
    if tcp and made and ESTABLISHED in measurement.phases:
        made += [Pass("ack", n, one.packets, one.group, one.flows, ack) for n, one in enumerate(list(made))]
    found = list(made)
    if ESTABLISHED in measurement.phases:
        packets = max(PACKETS, known.flows // 10)
        found += [Pass(ESTABLISHED, n, packets, known.group, known.flows, ack) for n in range(ROUNDS)]
    if measurement.existing and NEW in measurement.phases:
        found += fresh
    return tuple(found)


def steps(sent: tuple[Pass, ...]) -> list[str]:
    """What the guest does, a line each: `door FLAGS` sets the director's door, `send PASS`,
    `look PHASE` reads all counters.
    """
    found, door = [], None
    for index, each in enumerate(sent):
        if each.flags != door:
            found.append(f"door {each.flags}")
            door = each.flags
        found.append(f"send {each.name}")
        if index + 1 == len(sent) or sent[index + 1].phase != each.phase:
            found.append(f"look {each.phase}")
    return found


def files(measurement: Measurement, sysctls: Mapping[str, str]) -> dict[str, str]:
    """File name → text for the guest's measure.sh.

    Args:
        sysctls: of the director, set last.
    """
    here, sent = addresses(measurement.traffic.version), passes(measurement)
    found = {
        "modules": " ".join(measurement.modules),
        "options": "" if measurement.tab_bits is None else f"conn_tab_bits={measurement.tab_bits}",
        "unload": " ".join(
            reversed([each for each in measurement.modules if "ip_vs" in each or each == "xt_ipvs"])
        ),
        "netns.ip": _lines("netns add d", "netns add r"),
        "links.ip": _lines(
            f"link add g address {GENERATOR_MAC} type veth peer name d0 address {OUTER_MAC} netns d"
        ),
        "links.d": _lines(
            f"link add d1 address {INNER_MAC} type veth peer name r0 address {SERVER_MAC} netns r"
        ),
        "early.sysctl": _lines(*_no_autoconfiguration(measurement.traffic.version)),
        "director.ip": _director(measurement, here),
        "server.ip": _lines("link set r0 up"),
        "server.tc": _arrivals(measurement, here),
        "director.sysctl": _lines(
            *(f"{name}={value}" for name, value in {**_sysctls(measurement), **sysctls}.items())
        ),
        "quiet.sysctl": _lines(
            "net.ipv4.vs.run_estimation=0"
        ),  # the rate estimator's work goes by time, not by packets
        "steps": _lines(*steps(sent)),
    }
    if not measurement.handling.is_baseline:
        found["director.ipvs"] = _services(measurement, here)
    if measurement.handling is Handling.DROP:
        found["drops"] = ""
    rules = _netfilter(measurement, here)
    if rules:
        found["director.iptables"] = rules
    for each in sent:
        found[f"{each.name}.pktgen"] = _packets(measurement, here, each)
        found[f"door.{each.flags}"] = _door(measurement, each.flags)
    return found


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def _no_autoconfiguration(version: int) -> list[str]:
    """No router solicitations, no duplicate address detection: nothing in the network but what is
    measured.
    """
    if version == 4:
        return ["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"]
    return [
        f"net.ipv6.conf.{each}.{key}=0"
        for each in ("all", "default")
        for key in ("accept_dad", "router_solicitations", "autoconf")
    ]


def _director(measurement: Measurement, here: Addresses) -> str:
    lips = _local_addresses(here) if measurement.handling is Handling.FULLNAT else []
    rips = [here.rip(index) for index in range(measurement.servers)]
    return _lines(
        *(f"link set {device} up" for device in ("lo", "d0", "d1")),
        f"addr add {here.outer} dev d0",
        f"addr add {here.vip}/{here.plain} dev d0",
        f"addr add {here.dip} dev d1",
        *(f"addr add {each}/{here.plain} dev d1" for each in lips),
        *(f"neigh add {each} lladdr {server_mac(each)} dev d1 nud permanent" for each in rips),
    )


def _local_addresses(here: Addresses) -> list[str]:
    first, last = here.lips
    prefix = first[:-1]
    return [f"{prefix}{n}" for n in range(int(first[-1]), int(last[-1]) + 1)]


def _sysctls(measurement: Measurement) -> dict[str, str]:
    forward = "net.ipv4.ip_forward" if measurement.traffic.version == 4 else "net.ipv6.conf.all.forwarding"
    found = {forward: "1"}
    if measurement.conntrack and not measurement.handling.is_baseline:
        found["net.ipv4.vs.conntrack"] = "1"
    return found


def _services(measurement: Measurement, here: Addresses) -> str:
    """The virtual service as ipvsadm -R reads it."""
    option = "-t" if measurement.traffic.protocol == "tcp" else "-u"
    service = f"{option} {_endpoint(here.vip, SERVICE_PORT)}"
    forwarding = FORWARDING[measurement.handling]
    port = server_port(measurement)
    rips = (here.rip(index) for index in range(measurement.servers))
    return _lines(
        f"-A {service} -s {measurement.scheduler}",
        *(f"-a {service} -r {_endpoint(rip, port)} {forwarding} -w 1" for rip in rips),
    )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def server_port(measurement: Measurement) -> int:
    """The destination port with which packets reach the real server."""
    return SERVER_PORT if measurement.handling in (Handling.NAT, Handling.FULLNAT) else SERVICE_PORT


def _netfilter(measurement: Measurement, here: Addresses) -> str:
    """Rules for iptables-restore(8): one that looks at the tracked state brings connection tracking
    in; FullNAT's source NAT.
    """
    if not measurement.conntrack:
        return ""
    if measurement.handling is Handling.FULLNAT:
        rule = (
            f"-A POSTROUTING -m ipvs --vproto {_NUMBER[measurement.traffic.protocol]} --vaddr"
            f" {here.vip}/{here.plain} --vport {SERVICE_PORT} -j SNAT --to-source"
            f" {here.lips[0]}-{here.lips[1]}"
        )
        return _lines("*nat", rule, "COMMIT")
    return _lines("*filter", "-A FORWARD -m conntrack --ctstate INVALID -j DROP", "COMMIT")


# -- packets ---------------------------------------------------------------------------------------


def _packets(measurement: Measurement, here: Addresses, sent: Pass) -> str:
    """Commands for pktgen (Documentation/networking/pktgen.rst).

    With a checksum (UDPCSUM): for a datagram without one, IPVS's NAT computes one over all of it,
    which no usual packet asks for.
    """
    target = here.rip(0) if measurement.handling.is_baseline else here.vip
    made = flows(sent.flows, here.version)
    six, first = ("", "src_min") if here.version == 4 else ("6", "src6")
    sources = [f"{first} {here.source(sent.group, 0)}"]
    sources += [f"src_max {here.source(sent.group, made.sources - 1)}"] if here.version == 4 else []
    return _lines(
        f"count {sent.packets}",
        "clone_skb 0",
        "delay 0",
        f"pkt_size {64 if here.version == 4 else 86}",
        "flag UDPCSUM",
        f"dst{six} {target}",
        f"dst_mac {OUTER_MAC}",
        *sources,
        f"udp_src_min {FIRST_SOURCE_PORT}",
        f"udp_src_max {FIRST_SOURCE_PORT + made.ports}",  # exclusive
        f"udp_dst_min {SERVICE_PORT}",
        f"udp_dst_max {SERVICE_PORT}",
    )


def _door(measurement: Measurement, flags: int) -> str:
    """The director's door (`tc -batch`): what becomes of the generator's packets before the
    director sees them.

    For TCP, pktgen's UDP header and what follows are rewritten into a TCP header: protocol,
    sequence and acknowledgement number, data offset and flags, window; then the checksums.
    """
    protocol = "ip" if measurement.traffic.version == 4 else "ipv6"
    actions: list[str] = []
    if measurement.traffic.protocol == "tcp":
        next_header, tcp = (9, 20) if measurement.traffic.version == 4 else (6, 40)
        actions += [
            (
                f"action pedit munge offset {next_header} u8 set {_NUMBER['tcp']} munge offset {tcp + 4} u32"
                f" set 0x10000000 munge offset {tcp + 8} u32 set {0 if flags == _SYN else 0x20000000:#x}"
                f" munge offset {tcp + 12} u32 set {0x5000FFFF | flags << 16:#010x} munge offset {tcp + 16}"
                " u32 set 0 pipe"
            ),
            f"action csum {'ip4h and ' if measurement.traffic.version == 4 else ''}tcp pipe",
        ]
    actions.append("action drop" if measurement.handling is Handling.DROP else "action ok")
    return _lines(
        "qdisc del dev d0 clsact",
        "qdisc add dev d0 clsact",
        f"filter add dev d0 ingress pref 1 protocol {protocol} matchall {' '.join(actions)}",
    )


def _arrivals(measurement: Measurement, here: Addresses) -> str:
    """What counts at the servers' device: a frame to a real server with exactly the headers that
    the handling demands.
    """
    protocol, header = ("ip", 20) if here.version == 4 else ("ipv6", 40)
    number, port = _NUMBER[measurement.traffic.protocol], server_port(measurement)
    keys = [f"u16 {SERVER_MAC_PREFIX:#06x} 0xffff at -14"]
    inner = 0
    if measurement.handling is Handling.TUN:
        keys += [
            _next_header(here.version, 0, 4 if here.version == 4 else 41),
            *_destination(here.version, 0, here.servers_net),
        ]
        inner = header
    through = measurement.handling in (Handling.DR, Handling.TUN)
    keys += [_next_header(here.version, inner, number)]
    keys += _destination(here.version, inner, f"{here.vip}/{here.plain}" if through else here.servers_net)
    if measurement.handling is Handling.FULLNAT:
        keys += _source(here.version, inner, f"{here.lips[0]}/{29 if here.version == 4 else 125}")
    keys.append(f"u16 {port} 0xffff at {inner + header + 2}")
    return _lines(
        "qdisc add dev r0 clsact",
        f"filter add dev r0 ingress pref 1 protocol {protocol} u32 {' '.join(f'match {key}' for key in keys)}"
        " action drop",
    )


def _next_header(version: int, start: int, number: int) -> str:
    return f"u8 {number} 0xff at {start + (9 if version == 4 else 6)}"


def _source(version: int, start: int, network: str) -> list[str]:
    return _address(start + (12 if version == 4 else 8), network)


def _destination(version: int, start: int, network: str) -> list[str]:
    return _address(start + (16 if version == 4 else 24), network)


def _address(at: int, network: str) -> list[str]:
    """Match an address at an offset: one key for every 32 bits of its prefix."""
    address, _, length = network.partition("/")
    keys, left = [], int(length)
    for index, word in enumerate(words(address)):
        bits = min(32, left)
        if bits <= 0:
            break
        mask = (0xFFFFFFFF << (32 - bits)) & 0xFFFFFFFF
        keys.append(f"u32 {word & mask:#010x} {mask:#010x} at {at + 4 * index}")
        left -= bits
    return keys
