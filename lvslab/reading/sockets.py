"""Sockets, as /proc/net/tcp and its like and ss(8) show them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lvslab.errors import UsageError
from lvslab.ipvs.endpoint import Endpoint

_TCP_STATES = {"01": "ESTABLISHED", "02": "SYN_SENT", "03": "SYN_RECV", "0A": "LISTEN", "08": "CLOSE_WAIT"}
"""include/net/tcp_states.h; the others do not matter here."""

_SS_STATES = {"LISTEN": "LISTEN", "ESTAB": "ESTABLISHED", "SYN-RECV": "SYN_RECV", "UNCONN": ""}


@dataclass(frozen=True)
class Socket:
    """A TCP or UDP socket.

    Attributes:
        protocol: "tcp" or "udp".
        state: "LISTEN", "ESTABLISHED", … of TCP, "" of UDP.
        remote: None unless it is connected.
        idle: seconds since something was last sent or received on an established connection (ss(8),
            --info), None: not known.
    """

    protocol: str
    local: Endpoint
    remote: Endpoint | None
    state: str
    idle: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it waits for clients."""
        return self.state == "LISTEN" or (self.protocol == "udp" and self.remote is None)


Idle = Mapping[tuple[Endpoint, Endpoint], float]
"""(local, remote) → seconds of silence."""


def read_proc_sockets(files: Mapping[str, Sequence[str]], idle: Idle) -> Iterator[Socket]:
    """Sockets of /proc/net/tcp, tcp6, udp and udp6 (proc(5)), given as file → lines; an IPv6 socket
    for every address takes IPv4 too, as the default is.
    """
    for protocol in ("tcp", "udp"):
        for file in (protocol, f"{protocol}6"):
            for line in files.get(f"/proc/net/{file}", ())[1:]:
                words = line.split()
                try:
                    local, remote = _proc_endpoint(words[1]), _proc_endpoint(words[2])
                    state = _TCP_STATES.get(words[3], words[3]) if protocol == "tcp" else ""
                except (IndexError, ValueError, OSError, UsageError):
                    continue
                yield Socket(
                    protocol, local, remote if remote.port else None, state, idle.get((local, remote))
                )


def _proc_endpoint(text: str) -> Endpoint:
    """ "0100007F:0050": each 32-bit word of the address in the machine's byte order, which is the
    little-endian one.
    """
    address, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8))
    if len(raw) == 16 and raw.startswith(bytes(10) + b"\xff\xff"):
        raw = raw[12:]
    return Endpoint(
        socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)
    )


def read_idle(lines: Iterable[str]) -> dict[tuple[Endpoint, Endpoint], float]:
    """Seconds of silence of each established connection; `ss --info` puts a connection's numbers on
    a line of their own.
    """
    silent: dict[tuple[Endpoint, Endpoint], float] = {}
    ends: tuple[Endpoint, Endpoint] | None = None
    for line in lines:
        if not line.startswith((" ", "\t")):
            words = line.replace("[::ffff:", "").replace("]", "").split()
            try:
                ends = Endpoint.parse(words[2]), Endpoint.parse(words[3])
            except (IndexError, UsageError):
                ends = None
        times = re.findall(r"last(?:snd|rcv|ack):([0-9]{1,15})", line)
        if ends and times:
            silent[ends] = min(map(int, times)) / 1000.0
    return silent


def read_ss(text: str) -> tuple[Socket, ...]:
    """`ss -ltn`, `ss -lun`, `ss -tan` and the like, with numbers; where the column of the protocol
    is missing, a socket that listens or is connected is one of TCP.
    """
    sockets = []
    for line in text.splitlines():
        words = line.split()
        protocol = words.pop(0) if words[:1] in (["tcp"], ["udp"]) else ""
        if len(words) < 5 or words[0] not in _SS_STATES:
            continue
        protocol = protocol or ("udp" if words[0] == "UNCONN" else "tcp")
        local, remote = _ss_endpoint(words[3]), _ss_endpoint(words[4])
        if local is None:
            continue
        state = _SS_STATES[words[0]] if protocol == "tcp" else ""
        sockets.append(Socket(protocol, local, remote if remote and remote.port else None, state))
    return tuple(sockets)


def _ss_endpoint(text: str) -> Endpoint | None:
    """ "*:80", "10.0.0.1%eth0:53", "[::]:443", "0.0.0.0:*"."""
    address, _, port = text.rpartition(":")
    address = re.sub(r"%[^\]]*", "", address).strip("[]").removeprefix("::ffff:")
    try:
        return Endpoint("0.0.0.0" if address == "*" else address, int(port) if port.isdigit() else 0)
    except (UsageError, ValueError):
        return None
