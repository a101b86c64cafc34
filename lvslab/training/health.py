"""What exams of health checks do: see whether somebody looks at the real servers, break one, and
see what clients notice of it.
"""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from lvslab.host import linux
from lvslab.training.clients import ask
from lvslab.training.exam import Exam

_VISIT_SECONDS = 5.0
"""Whoever checks every second or two has come by then."""

_SETTLE_SECONDS = 8.0
"""ldirectord adds each server, takes it out again, and adds it anew when its first check
was good.
"""

_OUT_SECONDS, _BACK_SECONDS = 20.0, 25.0
"""Bounds for daemons that check every second; mon's own worst case is 6 s (`lvslab.control.mon`),
and programs start slowly in a guest.
"""

_PAUSE = 0.3
"""Seconds between two looks: requests without a pause would take processor time from the
daemons.
"""

_IN_A_ROW = 4
"""Requests in a row that must be as expected."""

_ETH_P_IP, _TCP, _SYN = 0x0800, 6, 0x02
_PATIENCE = 0.5


def settle(exam: Exam) -> None:
    """Give a daemon that has just begun to build the director's table the time to finish it."""
    if exam.table():
        exam.wait_until(lambda: _meet(exam, set(exam.plan.addresses.rips)), _SETTLE_SECONDS)


def must_be_watched(exam: Exam, port: int) -> None:
    """The director must open connections of its own to each real server again and again: somebody
    checks them.

    Args:
        port: of the servers.
    """
    unseen = _unvisited(exam, port)
    exam.must(
        "the servers are watched",
        not unseen,
        f"the director itself asks {', '.join(exam.plan.addresses.rips)} how they are",
        f"nobody on the director has looked at {', '.join(sorted(unseen))} within {_VISIT_SECONDS:g} s (port"
        f" {port})",
    )


def _unvisited(exam: Exam, port: int) -> set[str]:
    """Servers to which no SYN came from the director's own addresses in time."""
    own = {socket.inet_aton(each.ip) for each in exam.plan.director.interfaces}
    unseen = set(exam.plan.addresses.rips)
    deadline = time.monotonic() + _VISIT_SECONDS
    with selectors.DefaultSelector() as selector, ExitStack() as stack:
        for name in sorted(unseen):
            planned, node = exam.plan.node(name), exam.lab.node(name)
            with linux.network_of(node.pid):
                sock = stack.enter_context(
                    socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IP))
                )
            sock.bind((planned.interfaces[0].name, _ETH_P_IP))
            selector.register(sock, selectors.EVENT_READ, name)
        while unseen and (rest := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(rest):
                if _is_visit(key.fileobj.recv(2048), own, port):  # type: ignore[union-attr]
                    unseen.discard(key.data)
    return unseen


def _is_visit(packet: bytes, own: set[bytes], port: int) -> bool:
    """Whether an IPv4 packet is the first one of a TCP connection from one of these addresses to
    the port.
    """
    header = (packet[0] & 0x0F) * 4 if packet else 0
    if len(packet) < header + 14 or packet[9] != _TCP or packet[12:16] not in own:
        return False
    return int.from_bytes(packet[header + 2 : header + 4]) == port and packet[header + 13] == _SYN


@dataclass(frozen=True)
class Breakage:
    """A fault of a real server.

    Attributes:
        server: whose.
        what: for people: "is killed".
        make: makes it, a context manager that mends it on leaving.
    """

    server: str
    what: str
    make: AbstractContextManager[object]


def must_be_noticed(exam: Exam, *breakages: Breakage) -> None:
    """Clients must soon not meet a server that is broken, and meet it again when it is well.

    The next server is broken when the one before is mended, so that each has its turn in little
    time.
    """
    exam.disturb()
    servers = set(exam.plan.addresses.rips)
    found: list[tuple[str, bool, float, set[str]]] = []
    with ExitStack() as last:
        for each in breakages:
            broken = ExitStack()
            broken.enter_context(each.make)
            last.close()
            last.push(broken)
            name = f"{each.server} {each.what}" + (f", {found[-1][0].split()[0]} is well" if found else "")
            found.append((name, *_await_clients(exam, servers - {each.server}, _OUT_SECONDS)))
            if not found[-1][1]:
                break
    if found[-1][1]:
        found.append(("all are well again", *_await_clients(exam, servers, _BACK_SECONDS)))
    for name, held, seconds, wanted in found:
        who = " and ".join(sorted(wanted))
        exam.must(
            name,
            held,
            f"{seconds:.1f} s later clients were served by {who}, and by nobody else",
            f"{seconds:.0f} s later clients were still not served by {who}, and by nobody else",
        )


def _await_clients(exam: Exam, servers: set[str], seconds: float) -> tuple[bool, float, set[str]]:
    """Wait until clients are served by these servers alone: whether they were in time, and after
    how many seconds; and the servers.
    """
    began = time.monotonic()
    held = exam.wait_until(lambda: _meet(exam, servers), seconds, _PAUSE)
    return held, time.monotonic() - began, servers


def _meet(exam: Exam, servers: set[str]) -> bool:
    """Whether requests in a row are answered, by all of these servers and by no other."""
    seen = set()
    for _ in range(_IN_A_ROW):
        reply = ask(exam, timeout=_PATIENCE)
        if not reply or reply.status != 200 or reply.server not in servers:
            return False
        seen.add(reply.server)
    return seen == servers
