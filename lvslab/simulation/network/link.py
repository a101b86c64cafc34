"""Links: what lies between two network cards, or a card and a switch's port.

Each direction of a link draws from a generator of its own, so that what happens on one changes
nothing on another. The words are those of tc-netem(8).
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from lvslab.errors import UsageError
from lvslab.simulation.calendar import Calendar

ETHERNET_HEADER = 14
SECOND = 1_000_000_000


class End(Protocol):
    """What a link is plugged into: a card, or a switch's port.

    Attributes:
        transmit: where it sends its frames; the link puts itself there.
    """

    transmit: Callable[[bytes], None]

    def receive(self, frame: bytes) -> None: ...


def unplugged(frame: bytes) -> None:
    """Where the frames of an end without a link go: nowhere."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens to frames on one direction of a link.

    Attributes:
        delay: from the end of sending to the arrival, nanoseconds.
        jitter: the delay differs by up to so much either way, nanoseconds, drawn evenly; frames can
            overtake each other by it, as with netem.
        loss, duplicate: shares of the frames, 0..1.
        reorder: the share of frames that pass without the delay, and so overtake others.
        rate: bit/s at which frames leave, 0: at once.
        queue: frames that can wait for their turn at this rate; later ones are lost.
        mtu: octets that a frame can carry behind its Ethernet header; longer ones are lost.

    Raises:
        UsageError: a value that no link can have.
    """

    delay: int = 0
    jitter: int = 0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    rate: float = 0.0
    queue: int = 1000
    mtu: int = 1500

    def __post_init__(self) -> None:
        shares = {"loss": self.loss, "duplicate": self.duplicate, "reorder": self.reorder}
        wrong = [name for name, share in shares.items() if not 0 <= share <= 1]
        problems = [
            (bool(wrong), f"{', '.join(wrong)}: a share lies between 0 and 1"),
            (self.delay < 0, f"delay {self.delay} ns: frames cannot arrive before they are sent"),
            (
                not 0 <= self.jitter <= self.delay,
                f"jitter {self.jitter} ns: it lies between 0 and the delay, {self.delay} ns",
            ),
            (self.reorder > 0 and not self.delay, "reorder: without a delay no frame can overtake another"),
            (
                not (math.isfinite(self.rate) and self.rate >= 0),
                f"rate {self.rate}: bit/s, or 0 for no limit",
            ),
            (self.queue < 1, f"queue {self.queue}: at least the frame that is being sent must have room"),
            (self.mtu < 68, f"mtu {self.mtu}: IPv4 needs 68 octets (RFC 791)"),
        ]
        problem = next((text for failed, text in problems if failed), None)
        if problem:
            raise UsageError(f"link: {problem}")


class Direction:
    """One way over a link.

    Attributes:
        sent, lost: frames that came in, and those of them that did not arrive.
    """

    __slots__ = (
        "_calendar",
        "_conditions",
        "_cuts",
        "_free",
        "_plain",
        "_random",
        "_receive",
        "_starts",
        "_up",
        "lost",
        "sent",
    )

    def __init__(
        self, calendar: Calendar, receive: Callable[[bytes], None], conditions: Conditions, seed: str
    ) -> None:
        self._calendar, self._receive, self._random = calendar, receive, random.Random(seed)
        self._up, self._cuts, self._free = True, 0, 0
        self._starts: deque[int] = deque()
        self.sent = self.lost = 0
        self.conditions = conditions

    @property
    def conditions(self) -> Conditions:
        return self._conditions

    @conditions.setter
    def conditions(self, conditions: Conditions) -> None:
        """From the next frame on; those on their way keep their times."""
        self._conditions = conditions
        chance = conditions.jitter, conditions.loss, conditions.duplicate, conditions.reorder
        self._plain = not (any(chance) or conditions.rate)

    @property
    def up(self) -> bool:
        return self._up

    @up.setter
    def up(self, up: bool) -> None:
        """Down: what is on its way is lost, too."""
        if self._up and not up:
            self._cuts += 1
            self._starts.clear()
            self._free = 0
        self._up = up

    def send(self, frame: bytes) -> None:
        """A frame enters."""
        self.sent += 1
        conditions = self._conditions
        if not self._up or len(frame) > conditions.mtu + ETHERNET_HEADER:
            self.lost += 1
        elif self._plain:
            self._calendar.after(conditions.delay, self._arrive, frame, self._cuts)
        else:
            self._send_by_chance(frame, conditions)

    def _send_by_chance(self, frame: bytes, conditions: Conditions) -> None:
        draw = self._random.random
        if conditions.loss and draw() < conditions.loss:
            self.lost += 1
            return
        self._send_in_turn(frame, conditions)
        if conditions.duplicate and draw() < conditions.duplicate:
            self._send_in_turn(frame, conditions)

    def _send_in_turn(self, frame: bytes, conditions: Conditions) -> None:
        now = self._calendar.now
        leaves = now
        if conditions.rate:
            starts = self._starts
            while starts and starts[0] <= now:
                starts.popleft()
            if len(starts) >= conditions.queue:
                self.lost += 1
                return
            start = max(now, self._free)
            starts.append(start)
            leaves = self._free = start + round(len(frame) * 8 * SECOND / conditions.rate)
        delay = conditions.delay
        if conditions.reorder and self._random.random() < conditions.reorder:
            delay = 0
        elif conditions.jitter:
            delay += self._random.randint(-conditions.jitter, conditions.jitter)
        self._calendar.at(leaves + delay, self._arrive, frame, self._cuts)

    def _arrive(self, frame: bytes, cuts: int) -> None:
        if cuts == self._cuts:
            self._receive(frame)
        else:
            self.lost += 1


class Link:
    """Two ends joined.

    Attributes:
        forth, back: its directions, from the first end to the second and from the second to the
            first; their conditions can be changed while frames pass.
    """

    def __init__(
        self,
        calendar: Calendar,
        first: End,
        second: End,
        conditions: Conditions | None = None,
        *,
        name: str = "link",
        seed: int = 0,
    ) -> None:
        """Plug it in.

        Args:
            conditions: of both directions; None: frames arrive at once.
            name: two links of one name and seed lose the same frames.
        """
        conditions = conditions or Conditions()
        self.name = name
        self.forth = Direction(calendar, second.receive, conditions, f"{seed} {name} forth")
        self.back = Direction(calendar, first.receive, conditions, f"{seed} {name} back")
        first.transmit, second.transmit = self.forth.send, self.back.send

    @property
    def up(self) -> bool:
        return self.forth.up and self.back.up

    @up.setter
    def up(self, up: bool) -> None:
        self.forth.up = self.back.up = up

    def impair(self, conditions: Conditions) -> None:
        """New conditions for both directions, from the next frame on."""
        self.forth.conditions = self.back.conditions = conditions
