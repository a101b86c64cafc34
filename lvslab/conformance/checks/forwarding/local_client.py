"""The director as a client of its own NAT service: what it sends leaves by IPVS's hook at LOCAL_OUT
(ip_vs_ops in ip_vs_core.c), and the answer comes back by the one at LOCAL_IN.
"""

from __future__ import annotations

from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet

from lvslab.conformance.addresses import NETS, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.entries import awaited, entry, server_of
from lvslab.conformance.packets import changed, must
from lvslab.conformance.seen import Seen
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import VERSIONS
from lvslab.ipvs.service import Protocol

_FILE = "/tmp/local-client"
_SECONDS = 30
_ASKS = f"echo lvslab >&3; read -r -N 1 -t {_SECONDS} letter <&3; echo heard $letter"
"""A shell reads byte by byte, and the first one takes the whole datagram."""
_CONNECTS = "echo connected"


@check(
    "nat:local-client:ipv{version}-{protocol}",
    "the director's own {protocol} connection to its service reaches a real server from the VIP, with right"
    " checksums, and its program gets the answer; without the service nothing leaves",
    tags=("forwarding", "ipv{version}", "{protocol}"),
    each=[{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp")],
)
def local_client(bench: Bench, version: int, protocol: str) -> None:
    net, port = NETS[version], bench.port()
    layer, deed = (TCP, _CONNECTS) if protocol == "tcp" else (UDP, _ASKS)
    program = f"bash -c 'exec 3<>/dev/{protocol}/{net.vip}/{port} && {{ {deed}; }}'"
    if protocol == "tcp":
        refused = bench.lab.director.run(program)
        must("refused" in refused.err, "without a service a connection to the VIP is refused", refused.err)
    else:
        bench.run(f"bash -c 'echo lvslab >/dev/udp/{net.vip}/{port}'")
    bench.from_client().nothing("the director's own packet without a service")
    bench.service("nat", protocol=Protocol(protocol), port=port, version=version, weights=(1,))
    bench.apply(f"{program} >{_FILE} 2>&1 &", f"rm -f {_FILE}")
    frame = _first_inside(bench)
    own = frame.payload
    seen = (own.src, own.dst, own[layer].dport, server_of(frame))
    wanted = (net.vip, net.server(1), SERVER_PORT, 1)
    must(seen == wanted, f"source, destination, port and server: {wanted} expected, {seen} seen")
    must(_summed(frame) == frame, "its checksums are wrong", frame.summary())
    told = entry(bench, net.vip, "the director's own connection", port=port)
    must(told.client.port == own[layer].sport, f"the entry is of port {told.client.port}", frame.summary())
    reply = net.packet(net.server(1), net.vip)
    ports = {"sport": SERVER_PORT, "dport": own[layer].sport}
    if protocol == "udp":
        bench.from_server(1, reply / UDP(**ports) / b"y").nothing("the answer")
        said = "heard y"
    else:
        numbers = {"seq": 5000, "ack": own[TCP].seq + 1}
        shook = bench.from_server(1, reply / TCP(**ports, flags="SA", **numbers))
        # Its SYN may come again, and the program ends at once, which says FIN.
        acks = [each for each in shook.inside if TCP in each and each[TCP].flags == "A"]
        must(bool(acks) and not shook.outside, "the SYN-ACK is not answered", *shook.summaries())
        ack = acks[0]
        must(ack[TCP].ack == 5001, f"the ACK is for {ack[TCP].ack}, not 5001", ack.summary())
        must(_summed(ack) == ack, "the ACK's checksums are wrong", ack.summary())
        said = "connected"
    heard: list[str] = []

    def answered() -> bool:
        heard.append(bench.run(f"cat {_FILE}"))
        return bool(heard[-1])

    must(awaited(answered) and heard[-1].strip() == said, f"the program did not say '{said}'", *heard[-1:])
    if protocol == "tcp":
        # Nothing of it is sent again while later checks look.
        bench.from_server(1, reply / TCP(**ports, flags="R", seq=5001))


def _summed(frame: Packet) -> Packet:
    """The frame as it is with right checksums."""
    return changed(frame, lambda same: None)


def _first_inside(bench: Bench) -> Packet:
    """The first frame that the director sends inside by itself."""
    seen = Seen()

    def came() -> bool:
        nonlocal seen
        seen = bench.from_client()
        return bool(seen.inside)

    must(awaited(came), "the director's own packet did not reach a real server")
    return seen.inside[0]
