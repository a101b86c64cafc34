"""A learning Ethernet switch (IEEE 802.1D without a spanning tree: loops are not for it)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lvslab.simulation.calendar import Calendar
from lvslab.simulation.network.link import SECOND, unplugged

AGEING = 300 * SECOND
"""After which a switch forgets an address that it does not hear from (802.1D, 7.9.2)."""


class Port:
    """A port, the switch's end of a link.

    Attributes:
        side: ports of different sides hear nothing from each other.
    """

    __slots__ = ("_forward", "number", "side", "transmit")

    def __init__(self, number: int, forward: Callable[[Port, bytes], None]) -> None:
        self.number, self._forward, self.side = number, forward, 0
        self.transmit: Callable[[bytes], None] = unplugged

    def receive(self, frame: bytes) -> None:
        """A frame from the link."""
        self._forward(self, frame)


class Switch:
    """A switch with as many ports as are asked for; it takes no time of its own."""

    def __init__(self, calendar: Calendar, name: str = "switch", ageing: int = AGEING) -> None:
        """`ageing`: nanoseconds."""
        self.name, self.ageing = name, ageing
        self.ports: list[Port] = []
        self._calendar = calendar
        self._table: dict[bytes, tuple[Port, int]] = {}

    def port(self) -> Port:
        """A further port, to be plugged into a link."""
        port = Port(len(self.ports), self._forward)
        self.ports.append(port)
        return port

    def learned(self) -> dict[bytes, int]:
        """MAC address → number of the port behind which it is, of those not yet forgotten."""
        oldest = self._calendar.now - self.ageing
        return {address: port.number for address, (port, seen) in self._table.items() if seen >= oldest}

    def forget(self, *ports: Port) -> None:
        """Forget what was learned, all of it or what stands behind these ports."""
        if not ports:
            self._table.clear()
        for address in [address for address, (port, _) in self._table.items() if port in ports]:
            del self._table[address]

    def part(self, *sides: Iterable[Port]) -> None:
        """Part the network: only ports of one side hear each other. Those not named are a side of
        their own. Addresses learned across the gap are kept, as in switches whose trunk is cut.
        """
        self.heal()
        for number, ports in enumerate(sides, start=1):
            for port in ports:
                port.side = number

    def heal(self) -> None:
        """Make the network whole again."""
        for port in self.ports:
            port.side = 0

    def _forward(self, source: Port, frame: bytes) -> None:
        now, table = self._calendar.now, self._table
        if not frame[6] & 1:  # a group address is nobody's source
            table[frame[6:12]] = (source, now)
        target = frame[:6]
        entry = table.get(target)
        if entry is not None and now - entry[1] <= self.ageing:
            port = entry[0]
            if port is not source and port.side == source.side:
                port.transmit(frame)
            return
        for port in self.ports:
            if port is not source and port.side == source.side:
                port.transmit(frame)
