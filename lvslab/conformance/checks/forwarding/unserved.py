"""What is not balanced: packets without a service, without a server, or not for the director; and
the director as its own real server.
"""

from __future__ import annotations

from lvslab.conformance.addresses import NETS, PORT, ROUTER_MAC, SERVER_PORT, server_mac
from lvslab.conformance.check import check
from lvslab.conformance.datagrams import (
    SPORT,
    expect_refused,
    is_error,
    must_forward,
    quoted,
    routed,
    transport,
)
from lvslab.conformance.entries import entries
from lvslab.conformance.flows import Conversation
from lvslab.conformance.packets import must, must_equal
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import DIRECT_VERSIONS, EACH_VERSION, MODES_VERSIONS, VERSIONS
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, VirtualService


@check(
    "forwarding:unserved-port:ipv{version}-{protocol}",
    "a port of the VIP without a service is the director's own affair: it refuses; the same port with a"
    " service is balanced",
    tags=("ipv{version}", "{protocol}", "boundary"),
    each=[{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp")],
)
def unserved_port(bench: Bench, version: int, protocol: str) -> None:
    net = NETS[version]
    bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    packet = net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT + 1)
    expect_refused(bench, packet, "a packet to port 81")
    other = "udp" if protocol == "tcp" else "tcp"
    packet = net.packet(bench.client(version), net.vip) / transport(other, SPORT, PORT)
    expect_refused(bench, packet, f"a {other} packet to the port of the {protocol} service")
    packet = net.packet(bench.client(version), net.dip) / transport(protocol, SPORT, PORT)
    expect_refused(bench, packet, "a packet to the director's own address")
    packet = net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT)
    must_forward(bench, packet, "nat", "a packet to the service's port")


@check(
    "forwarding:no-real-server:ipv{version}-{protocol}",
    "a service without a usable real server answers with ICMP port unreachable, TCP too; a weight above 0"
    " ends that",
    tags=("ipv{version}", "{protocol}", "boundary"),
    each=[{"version": version, "protocol": protocol} for version in VERSIONS for protocol in ("tcp", "udp")],
)
def no_real_server(bench: Bench, version: int, protocol: str) -> None:
    # ip_vs_leave of ip_vs_core.c: "we notify the client that the destination is unreachable".
    net = NETS[version]
    service = bench.service("nat", protocol=Protocol(protocol), version=version, weights=(0,))
    packet = net.packet(bench.client(version), net.vip) / transport(protocol, SPORT, PORT)
    frame = bench.from_client(packet).one("outside", "a packet to a service whose only server has weight 0")
    is_error(
        frame,
        version,
        *((3, 3) if version == 4 else (1, 4)),
        "a packet to a service whose only server has weight 0",
    )
    must(quoted(frame) == bytes(packet), "the error does not quote the packet", frame.summary())
    bench.ipvsadm.edit_server(service, RealServer(net.server(1), SERVER_PORT, PacketForwarding.MASQ, 1))
    must_forward(bench, packet, "nat", "the packet when the server has weight 1")


@check(
    "forwarding:stray-segment:ipv{version}",
    "a TCP segment without SYN and without a connection is not balanced: the director's own TCP answers with"
    " a RST, and not to a RST",
    tags=("ipv{version}", "tcp", "boundary"),
    each=EACH_VERSION,
)
def stray_segment(bench: Bench, version: int) -> None:
    bench.service("nat", version=version, weights=(1,))
    for flags in ("A", "PA", "FA"):
        expect_refused(
            bench,
            Conversation(bench, "nat", version).from_client(flags),
            f"a stray segment with flags {flags}",
        )
    bench.from_client(Conversation(bench, "nat", version).from_client("R")).nothing("a stray RST")


@check(
    "forwarding:routed:ipv{version}",
    "what is not for the VIP passes the director as a plain router, both ways, with services in the table",
    tags=("ipv{version}",),
    each=EACH_VERSION,
)
def plain_routing(bench: Bench, version: int) -> None:
    net = NETS[version]
    for protocol in ("tcp", "udp"):
        bench.service("nat", protocol=Protocol(protocol), version=version, weights=(1,))
    client = bench.client(version)
    for protocol in ("tcp", "udp"):
        packet = net.packet(client, net.server(1)) / transport(protocol, SPORT, PORT)
        seen = bench.from_client(packet).one("inside", "a client's packet to a real server's own address")
        must_equal(
            seen,
            routed(bench, packet, "inside", server_mac(1)),
            "a client's packet to a real server's own address",
        )
        packet = net.packet(net.server(1), client) / transport(protocol, SERVER_PORT, SPORT)
        seen = bench.from_server(1, packet).one(
            "outside", "a real server's own packet from the service's port"
        )
        must_equal(
            seen,
            routed(bench, packet, "outside", ROUTER_MAC),
            "a real server's own packet from the service's port",
        )


@check(
    "{mode}:no-ip-forward:ipv{version}",
    "with forwarding off requests still reach the real server; in nat its replies no longer reach the client,"
    " with forwarding on they do",
    tags=("forwarding", "ipv{version}", "sysctl"),
    each=MODES_VERSIONS,
)
def no_ip_forward(bench: Bench, mode: str, version: int) -> None:
    # Requests come in by LOCAL_IN and leave by the transmitters' own route; replies of nat cross
    # FORWARD, where ip_forward counts. Writing the key resets other keys of the interfaces
    # (devinet.c, inet_forward_change), so it is written and put back as it was.
    key = "net.ipv4.ip_forward" if version == 4 else "net.ipv6.conf.all.forwarding"
    bench.service(mode, version=version, weights=(1,))
    talk = Conversation(bench, mode, version).establish()
    bench.sysctl(key, 0)
    talk.request(b"with forwarding off")
    Conversation(bench, mode, version).syn()
    if mode == "nat":
        bench.from_server(1, talk.from_server("PA", b"unheard")).nothing("a reply with forwarding off")
    bench.sysctl(key, 1)
    talk.reply(b"heard")


@check(
    "{mode}:vip-not-local:ipv{version}",
    "a VIP that is no address of the director's is not balanced; a local route to it is enough for that",
    tags=("forwarding", "ipv{version}"),
    each=MODES_VERSIONS,
)
def vip_not_local(bench: Bench, mode: str, version: int) -> None:
    # IPVS takes requests at LOCAL_IN: what the director routes on does not come by there.
    vip = "10.0.0.99" if version == 4 else "2001:db8::99"
    net = NETS[version]
    port = SERVER_PORT if mode == "nat" else PORT
    kind = {"nat": PacketForwarding.MASQ, "dr": PacketForwarding.DR, "tun": PacketForwarding.TUN}[mode]
    bench.add(VirtualService(Protocol.TCP, vip, PORT, real_servers=(RealServer(net.server(1), port, kind),)))
    # Elsewhere than on its own link the director sends such a packet back to the router, which is
    # where we see that it was routed.
    bits = 32 if version == 4 else 128
    bench.apply(
        f"ip -{version} route add {vip}/{bits} via {net.router}",
        f"ip -{version} route del {vip}/{bits} via {net.router}",
    )
    packet = net.packet(bench.client(version), vip) / transport("tcp", SPORT, PORT)
    frame = bench.from_client(packet).one("outside", "a packet to a VIP that is not local")
    must_equal(frame, routed(bench, packet, "outside", ROUTER_MAC), "a packet to a VIP that is not local")
    bench.apply(
        f"ip -{version} route add local {vip}/{bits} dev lo",
        f"ip -{version} route del local {vip}/{bits} dev lo",
    )
    Conversation(bench, mode, version, vip=vip).establish().request()


@check(
    "{mode}:local-real-server:ipv{version}",
    "a real server that is the director itself gets the packet in its own stack, whose answer comes to the"
    " client from the VIP",
    tags=("forwarding", "ipv{version}"),
    each=[{"mode": mode, "version": version} for mode in ("nat", "dr") for version in VERSIONS],
)
def local_real_server(bench: Bench, mode: str, version: int) -> None:
    # Nothing listens there, so the answer is a RST; in nat it is translated back at LOCAL_OUT.
    net, client = NETS[version], bench.client(version)
    kind, port = (PacketForwarding.MASQ, SERVER_PORT) if mode == "nat" else (PacketForwarding.DR, PORT)
    bench.add(VirtualService(Protocol.TCP, net.vip, PORT, real_servers=(RealServer(net.dip, port, kind),)))
    expect_refused(
        bench,
        net.packet(client, net.vip) / transport("tcp", SPORT, PORT),
        "a SYN to the director's own server",
    )
    found = [
        (entry.state, entry.destination.address, entry.destination.port) for entry in entries(bench, client)
    ]
    must(
        found == [("CLOSE", net.dip, port)],
        f"one connection to the director itself, state CLOSE, was expected: {found}",
    )


@check(
    "forwarding:edit-server:{mode}-ipv{version}",
    "a connection keeps the forwarding method it began with when the server's method is edited; a new"
    " connection has the new one",
    tags=("ipv{version}", "configuration"),
    each=DIRECT_VERSIONS,
)
def edit_server(bench: Bench, mode: str, version: int) -> None:
    net = NETS[version]
    service = bench.add(
        VirtualService(
            Protocol.TCP,
            net.vip,
            PORT,
            real_servers=(RealServer(net.server(1), PORT, PacketForwarding.MASQ),),
        )
    )
    talk = Conversation(bench, "nat", version, server_port=PORT).establish()
    kind = PacketForwarding.DR if mode == "dr" else PacketForwarding.TUN
    bench.ipvsadm.edit_server(service, RealServer(net.server(1), PORT, kind))
    # The new connection first: the route is cached with the server, and a packet of the old
    # connection would cache one that has no KNOWN_NH, with which dr asks by ARP for the VIP itself
    # (ip_vs_xmit.c, __ip_vs_get_out_rt; seen so on 6.1).
    Conversation(bench, mode, version).establish().request()
    talk.request()
    talk.reply()
