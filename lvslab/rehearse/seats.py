"""Where the servers of a rehearsal stand, and at what they answer.

They share one namespace of the machine's own kernel, each with a network card of its own, so that
each can be broken by itself. Those reached by tunnels stand behind a guest that only unwraps, since
tunnels need a kernel that has them: it owns their addresses, and leads what comes out of a server's
tunnel, and what else is sent to its address, to that server's card. A server whose address is a
director's stands on that director.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.service import PacketForwarding, Protocol
from lvslab.reading.configured import ConfiguredServer, Pool, ServerCheck
from lvslab.rehearse.director import Director, Door, Marks, asked_beside, doors_of, is_loopback
from lvslab.rehearse.network import Network

SERVERS, TUNNELS = "servers", "tunnels"
"""The node that the servers share, and the guest that unwraps for those behind tunnels."""

BEHIND = "net99"
"""Name of the network between the two."""

_SPEAKS = {21: "ftp", 25: "smtp", 53: "dns", 80: "http", 587: "smtp", 8000: "http", 8080: "http"}
_SPEAKS_TLS = {443: "http", 465: "smtp", 8443: "http"}
"""What a service on a port speaks where no check says it, and what with TLS."""

SPOKEN = ("http", "https", "smtp", "smtps", "ftp", "dns", "udp", "tcp")
"""What a plan may say that a service speaks."""

_ASKED_IN = ("http", "smtp", "dns", "ftp", "udp")
_SILENT_CHECKS = ("none", "ping", "script", "bfd", "file")
"""Checks that ask at no port of the server."""


@dataclass(frozen=True)
class Seat:
    """Where a real server stands.

    Attributes:
        node: the lab's node.
        device: its own card there; None on a director.
        net: its network; "" for what is on whichever director: its loopback, a virtual address.
        forwarding: how packets come to it.
        tunnel: its tunnel in the guest that unwraps; "" without.
        behind: its card's addresses there, by version of IP.
        of: the server whose other address it is, at which its checks ask; "" where it is its own.
    """

    address: str
    node: str
    device: str | None
    net: str
    forwarding: PacketForwarding
    tunnel: str = ""
    behind: Mapping[int, str] = field(default_factory=dict)
    of: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it stands on a director."""
        return self.device is None


@dataclass(frozen=True)
class Listener:
    """One address and port at which a server answers (`lvslab.rehearse.farm_program`).

    Attributes:
        server: the real server's name, which it says of itself.
        device: where its packets must come from; None: from anywhere.
        pages: (path, status, text) of those that are not the usual page; of a name server, ("A", 0,
            address) for the address that it answers.
    """

    node: str
    server: str
    device: str | None
    address: str
    port: int
    protocol: str
    speaks: str
    tls: bool
    pages: tuple[tuple[str, int, str], ...]

    @property
    def key(self) -> tuple[str, str | None, str, int, str]:
        return (self.node, self.device, self.address, self.port, self.protocol)


BEHIND_SUBNETS = {4: ipaddress.ip_network("100.127.0.0/16"), 6: ipaddress.ip_network("fd00:7e::/64")}
"""Of the network between the guest that unwraps and its servers (RFC 6598: of nobody's own)."""

Speaks = Mapping[str, str]
"""Door's name → what the user says it speaks: "http", "https", "smtp", …"""


def seats_of(directors: Sequence[Director], network: Network, marks: Marks) -> dict[str, Seat]:
    """Server address → where it stands, in the order of the files; and so for other addresses at
    which checks ask.
    """
    own = {
        str(ipaddress.ip_interface(address).ip): name
        for name, ports in network.ports.items()
        for port in ports
        for address in port.addresses
    }
    virtual = {door.address for director in directors for door in director.doors(marks)}
    seats: dict[str, Seat] = {}
    cards = tunnels = 0
    for director in directors:
        for _, configured in director.servers:
            address, forwarding = configured.server.address, configured.server.forwarding
            if address in seats:
                continue
            if is_loopback(configured.server) or address in virtual:
                seats[address] = Seat(address, director.name, None, "", forwarding)
                continue
            net = network.net_of(address).name
            if address in own:
                seats[address] = Seat(address, own[address], None, net, forwarding)
                continue
            device = f"{SERVERS}-eth{cards}"
            cards += 1
            tunnel, behind = "", {}
            if forwarding is PacketForwarding.TUN:
                tunnels += 1
                tunnel = f"t{tunnels}"
                behind = {version: str(subnet[tunnels]) for version, subnet in BEHIND_SUBNETS.items()}
            seats[address] = Seat(address, SERVERS, device, net, forwarding, tunnel, behind)
    for address, owner in asked_beside(directors, marks).items():
        net = network.net_of(address).name
        if address in own:
            seats[address] = Seat(address, own[address], None, net, PacketForwarding.MASQ, of=owner)
        else:
            device = f"{SERVERS}-eth{cards}"
            cards += 1
            seats[address] = Seat(address, SERVERS, device, net, PacketForwarding.MASQ, of=owner)
    return seats


def listeners_of(
    directors: Sequence[Director],
    seats: Mapping[str, Seat],
    marks: Marks,
    speaks: Speaks,
    bodies: Mapping[str, str] | None = None,
) -> tuple[Listener, ...]:
    """Everything at which a server must answer: where users' packets come to it, and where checks
    ask.

    Args:
        bodies: path → text of a page whose digest a check compares.
    """
    listeners: dict[tuple[str, str | None, str, int, str], Listener] = {}
    for director in directors:
        for pool, configured in director.servers:
            seat = seats[configured.server.address]
            for listener in (
                *_for_users(director.name, pool, configured, seat, marks, speaks),
                *_for_checks(director.name, pool, configured, seats, marks, speaks),
            ):
                listeners.setdefault(listener.key, _with_bodies(listener, bodies or {}))
    return tuple(listeners.values())


def _for_users(
    director: str, pool: Pool, configured: ConfiguredServer, seat: Seat, marks: Marks, speaks: Speaks
) -> Iterator[Listener]:
    server = configured.server
    for door in (door for service in pool.services for door in doors_of(service, marks)):
        if door.protocol is Protocol.SCTP:
            continue
        language, tls = spoken(door, configured, speaks)
        port = server.port if seat.forwarding is PacketForwarding.MASQ and server.port else door.port
        device, address = _arrival(seat, door)
        yield Listener(
            _node(director, seat),
            str(Endpoint(server.address, port)),
            device,
            address,
            port,
            door.protocol.value,
            language,
            tls,
            _pages(configured.checks),
        )


def _for_checks(
    director: str,
    pool: Pool,
    configured: ConfiguredServer,
    seats: Mapping[str, Seat],
    marks: Marks,
    speaks: Speaks,
) -> Iterator[Listener]:
    server = configured.server
    doors = [door for service in pool.services for door in doors_of(service, marks)]
    for check in configured.checks:
        asked = check.port or server.port
        if not asked or check.kind in _SILENT_CHECKS:
            continue
        door = doors[0] if doors else Door(Protocol.TCP, server.address, asked)
        language, tls = _by_check(check, asked) or spoken(door, configured, speaks)
        seat = seats.get(check.address, seats[server.address])
        own = seat.address == server.address or seat.of == server.address
        yield Listener(
            _node(director, seat),
            str(Endpoint(server.address, server.port or asked) if own else Endpoint(seat.address, asked)),
            seat.device,
            _checked_at(seat),
            asked,
            "udp" if check.kind in ("udp", "dns") else "tcp",
            language,
            tls,
            _pages(configured.checks),
        )


def _checked_at(seat: Seat) -> str:
    """The address at which a check's packet arrives."""
    version = 6 if ":" in seat.address else 4
    if seat.is_local:
        return "::" if version == 6 else "0.0.0.0"
    return seat.behind.get(version, seat.address)


def _node(director: str, seat: Seat) -> str:
    """A server on a loopback or a virtual address is on every director that names it."""
    return seat.node if seat.net else director


def _arrival(seat: Seat, door: Door) -> tuple[str | None, str]:
    """The device and address at which a user's packet for this server arrives.

    NAT rewrites the address. DR leaves the virtual one, and the frame says which server is meant;
    so does what comes out of a tunnel.
    """
    if seat.is_local:
        return None, "::" if door.is_ipv6 else "0.0.0.0"
    return seat.device, seat.address if seat.forwarding is PacketForwarding.MASQ else door.address


def spoken(door: Door, configured: ConfiguredServer | None, speaks: Speaks) -> tuple[str, bool]:
    """What a door speaks, and whether with TLS: as the user says, as a check asks, or as usual on
    that port.
    """
    said = speaks.get(door.name)
    if said:
        return said.removesuffix("s") if said in ("https", "smtps") else said, said in ("https", "smtps")
    if door.protocol is Protocol.UDP:
        return ("dns" if door.port == 53 else "udp"), False
    server = configured.server if configured else None
    for check in configured.checks if configured else ():
        if check.port in (0, door.port, server.port if server else 0):
            known = _by_check(check, door.port)
            if known:
                return known
    if door.port in _SPEAKS_TLS:
        return _SPEAKS_TLS[door.port], True
    return _SPEAKS.get(door.port, "tcp"), False


def _by_check(check: ServerCheck, port: int) -> tuple[str, bool] | None:
    """What a check of some kind expects, or None where it only connects."""
    if check.kind == "https":
        return "http", True
    if check.kind in _ASKED_IN:
        return check.kind, False
    return None


def _pages(checks: Sequence[ServerCheck]) -> tuple[tuple[str, int, str], ...]:
    """The pages that checks ask for, with the status and text that they want; and the address that
    a name server is to answer (ldirectord(8), receive).
    """
    names = tuple(
        ("A", 0, receive)
        for check in checks
        if check.kind == "dns" and _is_ipv4(receive := check.words.get("receive", ""))
    )
    return names + tuple(
        (page.path if page.path.startswith("/") else f"/{page.path}", _status(page.status), page.contains)
        for check in checks
        for page in check.pages
        if page.contains or page.status
    )


def _is_ipv4(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4
    except ValueError:
        return False


def _with_bodies(listener: Listener, bodies: Mapping[str, str]) -> Listener:
    """A server that has some pages word by word."""
    if listener.speaks != "http" or not bodies:
        return listener
    own = {path: (path, status, text) for path, status, text in listener.pages}
    for path, text in bodies.items():
        own[path] = (path, own[path][1] if path in own else 200, text)
    return replace(listener, pages=tuple(own.values()))


def _status(wanted: Sequence[str]) -> int:
    """The first of the right ones: "200", "200-299"."""
    first = wanted[0].partition("-")[0] if wanted else ""
    return int(first) if first.isascii() and first.isdigit() else 200
