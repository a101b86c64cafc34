"""The record of the frames that crossed chosen cards: a hash that tells whether two runs were the
same, and the frames themselves for a capture.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from lvslab.runs.pcapng import INBOUND, OUTBOUND, PcapngWriter
from lvslab.simulation.calendar import Calendar
from lvslab.simulation.network.link import End, unplugged

_STAMP = struct.Struct("<QHHI")
_BY_CARD = itemgetter(0, 1)


class Recorded(NamedTuple):
    """A frame that crossed a card.

    Attributes:
        time: nanoseconds of the calendar.
        card: index into the record's `cards`.
        direction: INBOUND or OUTBOUND, as the card sees it.
    """

    time: int
    card: int
    direction: int
    frame: bytes


class Tap:
    """Stands between a link and a card, and notes what passes. It is plugged into the link in the
    card's place.
    """

    __slots__ = ("_card", "_note", "_number", "transmit")

    def __init__(self, note: Callable[[int, int, bytes], None], number: int, card: End) -> None:
        self._note, self._number, self._card = note, number, card
        self.transmit: Callable[[bytes], None] = unplugged
        card.transmit = self._sent

    def receive(self, frame: bytes) -> None:
        self._note(self._number, INBOUND, frame)
        self._card.receive(frame)

    def _sent(self, frame: bytes) -> None:
        self._note(self._number, OUTBOUND, frame)
        self.transmit(frame)


class Record:
    """Frames by time, then card, then direction. Frames of one nanosecond on different cards have
    no order of their own: which of them is noted first is the simulator's affair and not the
    network's.

    Attributes:
        cards: their names.
        frames: how many were noted.
    """

    def __init__(self, calendar: Calendar, *, keep: bool = False) -> None:
        self.cards: list[str] = []
        self.frames = 0
        self._kept: list[Recorded] = []
        self._calendar, self._keep, self._hash = calendar, keep, hashlib.sha256()
        self._moment = 0
        self._present: list[tuple[int, int, bytes]] = []

    def tap(self, name: str, card: End) -> Tap:
        """Watch a card from now on; plug the answer into the link in the card's place."""
        self.cards.append(name)
        return Tap(self.note, len(self.cards) - 1, card)

    def keep(self) -> None:
        """Keep the frames from now on."""
        self._settle()
        self._keep = True

    def note(self, card: int, direction: int, frame: bytes) -> None:
        """A frame crosses a card."""
        now = self._calendar.now
        if now != self._moment:
            self._settle()
            self._moment = now
        self._present.append((card, direction, frame))
        self.frames += 1

    def _settle(self) -> None:
        """The present nanosecond is over."""
        present, time = self._present, self._moment
        if len(present) > 1:
            present.sort(key=_BY_CARD)
        for card, direction, frame in present:
            self._hash.update(_STAMP.pack(time, card, direction, len(frame)) + frame)
            if self._keep:
                self._kept.append(Recorded(time, card, direction, frame))
        present.clear()

    @property
    def kept(self) -> list[Recorded]:
        """The frames, if they were to be kept. As with `digest`, ask when the present nanosecond is
        over.
        """
        self._settle()
        return self._kept

    def digest(self) -> str:
        """SHA-256 over times, cards, directions and frames, hexadecimal. Ask for it when nothing
        more happens in the present nanosecond.
        """
        self._settle()
        return self._hash.hexdigest()

    def write(self, path: Path, epoch: int = 0) -> None:
        """Write the kept frames as pcapng.

        Args:
            epoch: the calendar's zero, in nanoseconds since the epoch.

        Raises:
            OSError: the file cannot be written.
        """
        with PcapngWriter(path, self.cards) as writer:
            for time, card, direction, frame in self.kept:
                writer.write(card, epoch + time, frame, direction)
