"""Every encapsulation byte for byte, in every mix of IP versions."""

from __future__ import annotations

from scapy.layers.inet import IP, UDP

from lvslab.conformance.addresses import PORT, V4
from lvslab.conformance.check import check
from lvslab.conformance.checks.tunnels.wrapping import EVERY, GUE_PORT, KINDS, through, tunnel
from lvslab.conformance.datagrams import datagram, field
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckSkipped
from lvslab.ipvs.service import PacketForwarding, RealServer
from lvslab.traffic.layers import Gue, remote_checksum


@check(
    "tunnel:{kind}:{inner}in{outer}",
    "an IPv{inner} packet reaches the real server in {kind} over IPv{outer}, from the director's address"
    " there, every byte as it must be",
    tags=("tun", "ipv{inner}", "ipv{outer}"),
    each=EVERY,
)
def encapsulation(bench: Bench, kind: str, inner: int, outer: int) -> None:
    # gue-remcsum too comes with its checksums complete: IPVS asks the far end to compute one only
    # where it was still to be computed (CHECKSUM_PARTIAL), which is so with packets of the director
    # itself; see tunnel:gue-remcsum:local-client.
    tunnel(bench, kind, inner, outer)
    client, name = bench.client(inner), "tos" if inner == 4 else "tc"
    through(bench, datagram(bench, inner, b"even", client=client), kind, outer, "a datagram of even length")
    through(bench, datagram(bench, inner, b"odd", client=client), kind, outer, "a datagram of odd length")
    for value in (0xB9, 0x03):
        sent = datagram(bench, inner, client=client, **field(name, value))
        through(bench, sent, kind, outer, f"a datagram with traffic class {value:#04x}")
    hops = field("ttl" if inner == 4 else "hlim", 9)
    through(bench, datagram(bench, inner, client=client, **hops), kind, outer, "a datagram with 9 hops left")


@check(
    "tunnel:gue:port-{port}",
    "GUE goes to the UDP port of the real server's --tun-port",
    tags=("tun", "gue", "boundary"),
    each=[{"port": 1}, {"port": 65535}],
)
def gue_port(bench: Bench, port: int) -> None:
    tunnel(bench, "gue", 4, 4, port)
    through(bench, datagram(bench, 4), "gue", 4, f"a datagram in GUE to port {port}", port=port)


@check(
    "tunnel:{kind}:source-port",
    "GUE's UDP source port is one for all packets of a connection, and others have others, so that networks"
    " can spread the load",
    tags=("tun", "gue"),
    each=[{"kind": "gue"}],
)
def gue_source_port(bench: Bench, kind: str) -> None:
    # udp_flow_src_port: a hash of the connection, in the range of local ports.
    tunnel(bench, kind, 4, 4)
    ports = set()
    for _ in range(8):
        client = bench.client()
        mine = {
            through(bench, datagram(bench, 4, client=client), kind, 4, "a datagram")[UDP].sport
            for _ in range(3)
        }
        must(len(mine) == 1, f"one connection had several source ports: {sorted(mine)}")
        ports |= mine
    must(len(ports) > 4, f"8 connections had {len(ports)} source ports only: {sorted(ports)}")


@check(
    "tunnel:edit",
    "a connection follows its real server's tunnel type when that is edited: IPIP, then GRE, then GUE",
    tags=("tun", "configuration"),
)
def edit(bench: Bench) -> None:
    service = tunnel(bench, "ipip", 4, 4)
    client = bench.client()
    through(bench, datagram(bench, 4, client=client), "ipip", 4, "a datagram in IPIP")
    for kind in ("gre-csum", "gue"):
        what = KINDS[kind]
        port = GUE_PORT if kind == "gue" else 0
        server = RealServer(
            V4.server(1),
            PORT,
            PacketForwarding.TUN,
            tun_type=what.type,
            tun_port=port,
            tun_csum=what.checksum,
        )
        bench.ipvsadm.edit_server(service, server)
        through(
            bench, datagram(bench, 4, client=client), kind, 4, f"a datagram of the same connection in {kind}"
        )


@check(
    "tunnel:{kind}:local-client",
    "a datagram of the director itself: with remcsum the far end is told to compute its checksum and would"
    " get the right one, with csum it is there",
    tags=("tun", "gue", "checksum"),
    each=[{"kind": "gue-remcsum"}, {"kind": "gue-csum"}],
)
def local_client(bench: Bench, kind: str) -> None:
    tunnel(bench, kind, 4, 4)
    sent = bench.lab.director.run(
        f"command -v bash >/dev/null || exit 9; bash -c 'echo lvslab >/dev/udp/{V4.vip}/{PORT}'"
    )
    if sent.code == 9:
        raise CheckSkipped("the director has no bash, with which this check sends its datagram")
    sent.check(bench.lab.plan.director.name, "bash: a datagram to the VIP")
    frames = bench.from_client().inside
    must(
        len(frames) == 1,
        f"one frame was expected inside, {len(frames)} came",
        *(frame.summary() for frame in frames),
    )
    frame = frames[0]
    must(Gue in frame, "the frame is no GUE packet", frame.summary())
    gue = frame[Gue]
    packet = IP(bytes(gue.payload))
    right = packet.copy()
    del right[UDP].chksum
    right = IP(bytes(right))
    asked = remote_checksum(gue)
    if kind == "gue-csum":
        must(asked is None, "the far end is told to compute a checksum", frame.summary())
        must(packet[UDP].chksum == right[UDP].chksum, "the datagram's checksum is wrong", frame.summary())
        return
    must(asked is not None, "the far end is not told to compute the checksum", frame.summary())
    must(
        asked == right[UDP].chksum,
        f"the far end would compute {asked:#06x}, right is {right[UDP].chksum:#06x}",
        frame.summary(),
    )
    must(
        (gue.csum_start, gue.csum_offset) == (20, 26),
        f"start {gue.csum_start}, offset {gue.csum_offset} are not UDP's 20 and 26",
    )
