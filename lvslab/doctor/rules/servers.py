"""What real servers must have: the virtual address in DR and TUN, and somebody who listens on the
port that the table says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from lvslab.doctor.evidence import Destination, Evidence, Machine, Part, alone
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import port_matches, rules
from lvslab.doctor.rules.traffic import shown, used
from lvslab.doctor.rules.tunnel import tunnel_link
from lvslab.ipvs.service import Protocol

_BOTH_PROTOCOLS = {53: "DNS answers that do not fit into a datagram are asked for again over TCP (RFC 7766)"}
"""Ports whose service is one over TCP and UDP."""

_TLS_PORTS = {443: 80, 636: 389, 853: 53, 993: 143, 995: 110}
"""Ports on which clients begin with a TLS handshake → the port of the same service without (IANA's
registry).
"""


def vip_missing(evidence: Evidence) -> Iterator[Finding]:
    """DR and TUN leave the destination address alone, so the server must take packets for the
    virtual address.
    """
    seen: set[tuple[str, str]] = set()
    for each in evidence.destinations():
        machine, vip = each.machine, each.service.address
        if each.masquerades or machine is None or not vip or machine.has(vip) or _redirected(machine, each):
            continue
        if (machine.name, vip) in seen:
            continue
        seen.add((machine.name, vip))
        path = machine.paths.get(("", vip))
        fate = f"it would pass them on to {path.via or path.link}" if path else "it has no route for them"
        yield Finding(
            "vip-missing-on-server",
            f"{machine.name} does not have the virtual address {vip}: the director counts and forwards"
            " packets, and the real server, to which they are not addressed, does not deliver them.",
            (f"{machine.name}: no link has {vip}; {fate}", shown(each)),
            (
                *_silenced(machine, vip),
                f"{machine.name}# ip address add {alone(vip)} dev"
                f" {tunnel_link(each) if each.tunnels else 'lo'}",
            ),
            # a rule that redirects would take the packets in
            Certainty.LIKELY if Part.RULES in machine.lacks else Certainty.CERTAIN,
        )


def _silenced(machine: Machine, vip: str) -> tuple[str, ...]:
    """What keeps a server from answering for the virtual address of its director: ARP asks every
    link, neighbour discovery of IPv6 only the one that has the address (ndisc_recv_ns).
    """
    if ":" in vip:
        return ()
    return (f"{machine.name}# sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",)


def masquerade_to_loopback(evidence: Evidence) -> Iterator[Finding]:
    """IPVS does not translate packets from outside to 127.0.0.0/8 (ip_vs_nat_xmit, "stopping DNAT
    to loopback address"); DR to the same address leaves them as they are, to the director itself.
    """
    for each in evidence.destinations():
        if not each.masquerades or not ipaddress.ip_address(each.server.address).is_loopback:
            continue
        selector = " ".join(each.service.selector)
        yield Finding(
            "masquerade-to-loopback",
            f"{each.service.name} leads to {each.server.name} by masquerading: the kernel drops packets from"
            " outside that would be translated to a loopback address.",
            (shown(each),),
            (
                f"{each.director.name}# ipvsadm -e {selector} -r {each.server.name} -g -w"
                f" {each.server.weight}",
                f"the packets then keep their destination: the program must listen on port"
                f" {each.service.port} of {each.service.address}, or of all addresses",
            ),
        )


def _redirected(machine: Machine, each: Destination) -> bool:
    """Whether netfilter on the server takes the packets in: REDIRECT, DNAT or TPROXY."""
    return any(
        rule.target in ("REDIRECT", "DNAT", "TPROXY")
        and rule.about("-d", each.service.address)
        and port_matches(rule, each.service.port)
        for table in ("nat", "mangle")
        for rule in rules(machine, table, "PREROUTING")
    )


def _target(each: Destination) -> tuple[str, int]:
    """Address and port to which packets are addressed when they reach the server."""
    if each.masquerades:
        return each.server.address, each.server.port
    return each.service.address, each.service.port


def _listens(machine: Machine, protocol: str, address: str, port: int) -> bool:
    """Whether a program of the machine waits for clients at an address and port."""
    return any(
        socket.is_open
        and socket.protocol == protocol
        and socket.local.port == port
        and socket.local.address in (address, "0.0.0.0", "::")
        for socket in machine.sockets
    )


def _dead(evidence: Evidence) -> Iterator[Destination]:
    """Readable servers in a table on whose port nobody listens.

    A service that no server offers and that no client has asked for is not in use: it is passed
    over.
    """
    for each in evidence.destinations():
        if not _judged(each) or _answers(each):
            continue
        offered = any(_judged(other) and _answers(other) for other in _siblings(evidence, each))
        if each.server.weight and (offered or used(each.director, each.service)):
            yield each


def _siblings(evidence: Evidence, each: Destination) -> list[Destination]:
    return [
        other
        for other in evidence.destinations()
        if other.director is each.director
        and other.service is each.service
        and other.server is not each.server
    ]


def _judged(each: Destination) -> bool:
    """Whether it can be judged: TCP or UDP on a port of its own, at a server whose sockets were
    read.
    """
    return (
        each.machine is not None
        and bool(each.machine.sockets)
        and each.service.protocol in (Protocol.TCP, Protocol.UDP)
        and bool(each.service.port)
        and not _redirected(each.machine, each)
    )


def _answers(each: Destination) -> bool:
    assert each.machine is not None
    return _listens(each.machine, each.service.protocol.value, *_target(each))


def _open_ports(each: Destination) -> list[int]:
    """Ports on which the server does listen at the address that packets go to."""
    assert each.machine is not None
    address, _ = _target(each)
    return sorted(
        {
            socket.local.port
            for socket in each.machine.sockets
            if socket.is_open
            and socket.protocol == each.service.protocol.value
            and socket.local.address in (address, "0.0.0.0", "::")
        }
    )


def _evidence(each: Destination) -> tuple[str, ...]:
    assert each.machine is not None
    address, port = _target(each)
    protocol = each.service.protocol.value
    ports = ", ".join(map(str, _open_ports(each))) or "none"
    return (
        (
            f"{each.machine.name}: ss -ln: nobody listens on {address}:{port}/{protocol}; {protocol} ports"
            f" with listeners: {ports}"
        ),
        shown(each),
    )


def _elsewhere(evidence: Evidence, each: Destination) -> int | None:
    """The port on which the server offers what was meant: the service's own, or the one that the
    other servers use.
    """
    wanted = [
        each.service.port,
        *(_target(other)[1] for other in _siblings(evidence, each) if _judged(other) and _answers(other)),
    ]
    here = _target(each)[1]
    return next((port for port in wanted if port != here and port in _open_ports(each)), None)


def port_mapping_without_nat(evidence: Evidence) -> Iterator[Finding]:
    """DR and TUN leave the port alone (ipvsadm(8), -r): a server on another port needs
    masquerading.
    """
    for each in _dead(evidence):
        others = [port for port in _open_ports(each) if port not in _other_service_ports(evidence, each)]
        if (
            each.masquerades
            or not others
            or any(_judged(other) and _answers(other) for other in _siblings(evidence, each))
        ):
            continue
        assert each.machine is not None
        yield Finding(
            "port-mapping-without-nat",
            f"{each.server.forwarding.value} forwarding does not change ports: packets reach"
            f" {each.machine.name} on port {each.service.port}, where nobody listens. Only masquerading (-m)"
            " maps ports; ipvsadm drops another port given with -r without a word.",
            _evidence(each),
            (
                (
                    f"have the program on {each.machine.name} listen on {each.service.port}, or map the port"
                    f" there: {each.machine.name}# iptables -t nat -A PREROUTING -d {each.service.address} -p"
                    f" {each.service.protocol} --dport {each.service.port} -j REDIRECT --to-ports {others[0]}"
                ),
                (
                    f"or use NAT, with the director as the servers' gateway: {each.director.name}# ipvsadm -e"
                    f" {' '.join(each.service.selector)} -r {each.server.address}:{others[0]} -m"
                ),
            ),
        )


def _other_service_ports(evidence: Evidence, each: Destination) -> set[int]:
    return {
        other.service.port for other in evidence.destinations() if other.server.address == each.server.address
    }


def wrong_server_port(evidence: Evidence) -> Iterator[Finding]:
    """A port mapped to one where nobody listens, while the server offers the service on another."""
    for each in _dead(evidence):
        port = _elsewhere(evidence, each)
        if not each.masquerades or port is None:
            continue
        server, selector = each.server, " ".join(each.service.selector)
        yield Finding(
            "wrong-server-port",
            f"{each.service.name} is mapped to port {server.port} of {server.address}, where nobody listens;"
            f" the server offers port {port}.",
            _evidence(each),
            (
                (
                    f"{each.director.name}# ipvsadm -a {selector} -r {server.address}:{port}"
                    f" {server.forwarding.option} -w {server.weight}"
                ),
                f"{each.director.name}# ipvsadm -d {selector} -r {server.name}",
            ),
        )


def tls_to_plain_port(evidence: Evidence) -> Iterator[Finding]:
    """A TLS service led to the port that also serves the plain one, while the server expects TLS on
    the service's own port.
    """
    for each in evidence.destinations():
        plain = _TLS_PORTS.get(each.service.port)
        if (
            not each.masquerades
            or plain is None
            or not _judged(each)
            or each.server.port == each.service.port
        ):
            continue
        shared = [
            other.service
            for other in evidence.destinations()
            if other.director is each.director
            and other.server.endpoint == each.server.endpoint
            and other.service.port == plain
        ]
        if not shared or each.service.port not in _open_ports(each):
            continue
        server, selector = each.server, " ".join(each.service.selector)
        assert each.machine is not None
        yield Finding(
            "wrong-server-port",
            f"{each.service.name} leads to port {server.port} of {each.machine.name}, which serves"
            f" {shared[0].name} without TLS; the server has port {each.service.port} open, too.",
            (
                shown(each),
                f"{each.director.name}: {shared[0].name} -> {server.name}: the same port",
                f"{each.machine.name}: ss -ln: listens on {each.service.port}/{each.service.protocol}",
            ),
            (
                (
                    f"{each.director.name}# ipvsadm -a {selector} -r {server.address}:{each.service.port} -m"
                    f" -w {server.weight}"
                ),
                f"{each.director.name}# ipvsadm -d {selector} -r {server.name}",
            ),
            Certainty.LIKELY,
        )


def server_port_dead(evidence: Evidence) -> Iterator[Finding]:
    """A server in the table that does not offer the service: IPVS does not notice, and goes on
    sending it its share.
    """
    told = {
        each.evidence[0] for rule in (port_mapping_without_nat, wrong_server_port) for each in rule(evidence)
    }
    for each in _dead(evidence):
        lines = _evidence(each)
        if lines[0] in told:
            continue
        assert each.machine is not None
        yield Finding(
            "server-port-dead",
            f"{each.machine.name} does not offer {each.service.name}, but stays in the table: its share of"
            " the connections fails.",
            lines,
            (
                (
                    f"start the service on {each.machine.name}, or take the server out: {each.director.name}#"
                    f" ipvsadm -d {' '.join(each.service.selector)} -r {each.server.name}"
                ),
                "and have keepalived, ldirectord or mon check the servers",
            ),
        )


def protocol_missing(evidence: Evidence) -> Iterator[Finding]:
    """A service that lives on TCP and UDP, balanced on one of them only."""
    for director in evidence.directors:
        services = director.ipvs.services if director.ipvs else ()
        for service in services:
            other = {Protocol.UDP: Protocol.TCP, Protocol.TCP: Protocol.UDP}.get(service.protocol)
            if other is None or service.port not in _BOTH_PROTOCOLS:
                continue
            if any(
                each.protocol in (other, Protocol.FWMARK)
                and each.address in (service.address, "")
                and each.port in (service.port, 0)
                for each in services
            ):
                continue
            server = service.real_servers[0] if service.real_servers else None
            option = server.forwarding.option if server else "-m"
            yield Finding(
                "protocol-missing",
                f"Port {service.port} of {service.address} is balanced over {service.protocol.label} only;"
                f" {_BOTH_PROTOCOLS[service.port]}.",
                (
                    (
                        f"{director.name}: {service.name} is in the table, {other.label}"
                        f" {service.address}:{service.port} is not"
                    ),
                ),
                (
                    (
                        f"{director.name}# ipvsadm -A {other.option} {service.address}:{service.port} -s"
                        f" {service.scheduler}"
                    ),
                    *(
                        f"{director.name}# ipvsadm -a {other.option} {service.address}:{service.port} -r"
                        f" {each.name} {option}"
                        for each in service.real_servers
                    ),
                ),
            )
