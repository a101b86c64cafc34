"""What went into the director and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field

from scapy.packet import Packet

from lvslab.conformance.verdict import CheckFailed
from lvslab.runs.words import plural


@dataclass(frozen=True)
class Logged:
    """A frame on one of the wires.

    Attributes:
        time: seconds since 1970. wire: its name. sent: into the director, else it came out.
    """

    time: float
    wire: str
    sent: bool
    frame: Packet


@dataclass
class Seen:
    """Frames that came out of the director, in order, without its echo replies, ARP, neighbour
    discovery and multicast reports.
    """

    outside: list[Packet] = field(default_factory=list)
    inside: list[Packet] = field(default_factory=list)

    def one(self, side: str, what: str) -> Packet:
        """The only frame on one side, with nothing on the other.

        Raises:
            CheckFailed: there is none, or another one.
        """
        here, there = (self.inside, self.outside) if side == "inside" else (self.outside, self.inside)
        if len(here) == 1 and not there:
            return here[0]
        raise CheckFailed(
            f"{what}: one frame was expected {side}, {len(here)} came, and {len(there)} on the other side",
            self.summaries(),
        )

    def nothing(self, what: str) -> None:
        """Nothing must have come out.

        Raises:
            CheckFailed: something did.
        """
        if self.outside or self.inside:
            count = len(self.outside) + len(self.inside)
            raise CheckFailed(
                f"{what}: nothing was expected, {plural(count, 'frame')} came", self.summaries()
            )

    def summaries(self) -> list[str]:
        """Every frame in words, for the detail of a failed check."""
        return [
            f"{side}: {frame.summary()}"
            for side, frames in (("outside", self.outside), ("inside", self.inside))
            for frame in frames
        ]
