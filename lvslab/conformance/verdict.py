"""How a check ends when it does not pass."""

from __future__ import annotations

from collections.abc import Sequence


class CheckFailed(Exception):
    """An expectation did not hold. `detail`: lines that show it, for example the wrong packet
    beside the expected one.
    """

    def __init__(self, reason: str, detail: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.detail = tuple(detail)


class CheckSkipped(Exception):
    """The kernel under test cannot do this; the message says why."""
