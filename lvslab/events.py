"""Typed progress events: what happens in a lab, told once; the terminal and the run directory are
two listeners.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        lab: name of the lab, or "" for the whole command.
        kind: a word for the class of event, for example "boot", "ready", "fault", "repair",
            "table", "vrrp", "measure", "verdict".
        text: one line for people.
        t: seconds since the epoch, the clock of the captures.
        node: where it happened; "" when it is no single node's.
    """

    lab: str
    kind: str
    text: str = ""
    t: float = field(default_factory=time.time)
    node: str = ""


Listener = Callable[[Event], None]
"""Takes events; must not raise."""


def nobody(event: Event) -> None:
    """A listener that does not listen."""
