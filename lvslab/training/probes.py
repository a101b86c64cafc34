"""Packets that an exam sends by itself from the examiner's client, where no ordinary program asks
precisely enough.
"""

from __future__ import annotations

import socket
import struct
import time

from lvslab.host import linux
from lvslab.training.exam import Exam
from lvslab.training.nodes import examiner

_ETH_P_ARP = 0x0806
_REQUEST, _REPLY = 1, 2
# RFC 826: hardware, protocol, lengths, operation, sender, target
_PACKET = struct.Struct("!HHBBH6s4s6s4s")

_PATIENCE = 2.0
"""Seconds to wait for a first answer."""

_QUIET = 0.3
"""Seconds without a further answer after which nobody else is expected: guests answer within
milliseconds.
"""


def arp_answers(exam: Exam, address: str) -> list[str]:
    """Names of the nodes that answer an ARP request for an address, sorted; a MAC address where
    none has it.
    """
    here = examiner(exam.plan).interfaces[0]
    own = bytes.fromhex(here.mac.replace(":", ""))
    request = _PACKET.pack(
        1, 0x0800, 6, 4, _REQUEST, own, socket.inet_aton(here.ip), bytes(6), socket.inet_aton(address)
    )
    with linux.network_of(exam.client.pid):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ARP))
    macs = set()
    with sock:
        sock.bind((here.name, _ETH_P_ARP))
        sock.send(b"\xff" * 6 + own + struct.pack("!H", _ETH_P_ARP) + request)
        deadline = time.monotonic() + _PATIENCE
        while (rest := deadline - time.monotonic()) > 0:
            sock.settimeout(rest)
            try:
                _, _, _, _, operation, mac, sender, _, _ = _PACKET.unpack_from(sock.recv(2048), 14)
            except TimeoutError:
                break
            if operation == _REPLY and sender == socket.inet_aton(address):
                macs.add(mac.hex(":"))
                deadline = time.monotonic() + _QUIET
    names = {each.mac: node.name for node in exam.plan.nodes for each in node.interfaces}
    return sorted(names.get(mac, mac) for mac in macs)


def must_answer_arp_alone(exam: Exam) -> None:
    """The director, and nobody else, must answer ARP requests for the virtual address.

    Neighbour tables are emptied, as time would do it: the examiner's, so that it asks the network
    and not its memory, and the servers', so that the packets which follow show with which address
    they ask.
    """
    who = arp_answers(exam, exam.vip)
    director = exam.plan.director.name
    exam.must(
        "who answers ARP",
        who == [director],
        f"only {director} answers ARP requests for {exam.vip}",
        f"ARP requests for {exam.vip} are answered by {', '.join(who) or 'nobody'}",
    )
    if not exam.may_disturb():
        return
    exam.client.run("ip neigh flush all")
    for name in exam.plan.addresses.rips:
        exam.run(name, "ip neigh flush all")
