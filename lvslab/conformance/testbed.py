"""The bench: one director on a real IPVS kernel between two wires; everything else in its world is
played packet by packet.

Clients are behind a router on the outside wire, real servers are on the inside wire; the director
knows all neighbours beforehand, so no ARP disturbs. A check configures the director, sends frames
and gets back everything that came out of either side, in order and without waiting: an echo request
to the director itself goes behind the frames, and when its answer is there, all that they caused is
there too.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6MLReport2, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RS, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet
from scapy.utils import mac2str

from lvslab.conformance.addresses import NETS, ROUTER_MAC, V4, server_mac
from lvslab.conformance.director import Director
from lvslab.conformance.seen import Logged, Seen
from lvslab.conformance.wire import CableWire, Wire
from lvslab.errors import LabError
from lvslab.lab.lab import Lab
from lvslab.lab.worlds import AnyLab
from lvslab.plan.layout import Interface

_ANSWER_SECONDS = 20.0
_IGMP = 2
"""Protocol number of IGMP."""

_ECHO_ID = 0xBA44
"""Of the bench's own echo requests."""


class Bench(Director):
    """A director between two wires, as a context manager.

    Attributes:
        outside, inside: the wires.
        log: every frame of the current check.
    """

    def __init__(self, lab: AnyLab) -> None:
        super().__init__(lab)
        self.log: list[Logged] = []
        self._clients = itertools.count(1)
        self._barriers = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Bench:
        outer, inner = self.lab.plan.director.interfaces[:2]
        with ExitStack() as stack:
            self.outside = self._wire("outside", outer, stack)
            self.inside = self._wire("inside", inner, stack)
            self.prepare()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @abstractmethod
    def _wire(self, name: str, interface: Interface, stack: ExitStack) -> Wire:
        """A wire to a card of the director; what it holds is released by the stack."""

    def client(self, version: int = 4) -> str:
        """An address of a client that has never talked before."""
        return NETS[version].client(next(self._clients))

    def from_client(self, *packets: Packet) -> Seen:
        """Send packets of clients into the outside wire, each in a frame from the router; what came
        out of the director.
        """
        return self._exchange(
            self.outside, [self.framed(packet, ROUTER_MAC, self.outside.mac) for packet in packets]
        )

    def from_server(self, number: int, *packets: Packet) -> Seen:
        """Send packets of a real server into the inside wire."""
        return self._exchange(
            self.inside, [self.framed(packet, server_mac(number), self.inside.mac) for packet in packets]
        )

    @staticmethod
    def framed(packet: Packet, source: str, destination: str) -> Packet:
        """A packet in an Ethernet frame, all computed fields filled in."""
        kind = _TYPES.get(type(packet))
        if kind is None:
            return Ether(bytes(Ether(src=source, dst=destination) / packet))
        return Ether(mac2str(destination) + mac2str(source) + kind + _built(packet))

    def _exchange(self, wire: Wire, frames: Sequence[Packet]) -> Seen:
        for frame in frames:
            wire.send(frame)
            self.log.append(Logged(self.lab.now(), wire.name, True, frame))
        seen = Seen()
        other = self.inside if wire is self.outside else self.outside
        # First what goes in, then what goes out on the other side, has passed the director.
        for side in (wire, other):
            self._pass(side, seen)
        seen.outside += self._kept(self.outside, self.outside.drain())
        seen.inside += self._kept(self.inside, self.inside.drain())
        return seen

    def _pass(self, wire: Wire, seen: Seen) -> None:
        """Wait until everything sent before has gone through the director, by an echo request
        behind it.
        """
        number = next(self._barriers) & 0xFFFF
        source, destination = (V4.router, V4.dip) if wire is self.outside else (V4.server(1), V4.inner)
        mac = ROUTER_MAC if wire is self.outside else server_mac(1)
        wire.send(
            self.framed(
                IP(src=source, dst=destination) / ICMP(type=8, id=_ECHO_ID, seq=number), mac, wire.mac
            )
        )

        def answered(frame: Packet) -> bool:
            return (
                ICMP in frame
                and frame[ICMP].type == 0
                and frame[ICMP].id == _ECHO_ID
                and frame[ICMP].seq == number
            )

        reply, before = wire.receive(answered, _ANSWER_SECONDS)
        (seen.outside if wire is self.outside else seen.inside).extend(self._kept(wire, before))
        if reply is None:
            raise LabError(
                f"{self.lab.plan.director.name}: does not answer on the {wire.name} wire within"
                f" {_ANSWER_SECONDS:g} s"
            )

    def _kept(self, wire: Wire, frames: Sequence[Packet]) -> list[Packet]:
        kept = [frame for frame in frames if not _is_noise(frame)]
        self.log += [Logged(self.lab.now(), wire.name, False, frame) for frame in kept]
        return kept

    # -- after a check -----------------------------------------------------------------------------

    def reset(self) -> str:
        """Put back what the check changed, and forget its frames.

        Returns:
            What is not as it was before the check, or "".
        """
        left = self.put_back()
        self.log = []
        for wire in (self.outside, self.inside):  # what daemons of the check said last
            wire.drain()
        return left


_TYPES = {IP: b"\x08\x00", IPv6: b"\x86\xdd"}
"""Kind of header → what an Ethernet frame calls it."""


def _built(packet: Packet) -> bytes:
    """A packet's bytes. scapy first makes a copy of it with one of each field's possible values; in
    the suite each field has one, and the copies would take as long as all else.
    """
    layer: Packet = packet
    while layer:
        layer.explicit = 1
        layer = layer.payload
    return bytes(packet)


class LabBench(Bench):
    """A bench in a lab of this machine: inside a sandbox, in the network namespace of the lab."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._ends = {link.intf2.name: link.intf1.name for link in lab.net.links} | {
            link.intf1.name: link.intf2.name for link in lab.net.links
        }

    def _wire(self, name: str, interface: Interface, stack: ExitStack) -> Wire:
        """See `Bench._wire`."""
        return stack.enter_context(CableWire(name, self._ends[interface.name], interface.mac))


def _is_noise(frame: Packet) -> bool:
    """What an idle host says by itself, and the bench's own echo replies."""
    if ARP in frame or (IP in frame and frame[IP].proto == _IGMP):
        return True
    if any(layer in frame for layer in (ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6MLReport2)):
        return True
    return ICMP in frame and frame[ICMP].type == 0 and frame[ICMP].id == _ECHO_ID
