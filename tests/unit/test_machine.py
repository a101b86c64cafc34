"""How long a guest that boots is waited for: for as long as it works at it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from lvslab.kernels.machine import await_work


class Boot(threading.Event):
    """One whose clock is a list: the processor time that the guest has used after each period."""

    def __init__(self, used: Sequence[float], up_after: int | None) -> None:
        super().__init__()
        self._used, self._up_after, self.periods = used, up_after, 0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 30.0
        self.periods += 1
        return self._up_after is not None and self.periods > self._up_after

    def worked(self) -> float:
        return self._used[self.periods - 1]


@pytest.mark.parametrize(
    ("used", "up_after", "periods"),
    [
        ([], 0, 1),  # up at once
        ([2.0, 4.0, 6.0], 3, 4),  # slow, on a busy machine
        ([2.0, 4.0, 4.3], None, 3),  # stands still, but for its ticks
        ([0.2], None, 1),  # never began
        ([30.0, 60.0, 90.0, 120.0, 150.0], None, 5),  # goes round in a circle
        ([2.0 * number for number in range(1, 13)], None, 12),  # comes to no end
    ],
)
def test_a_guest_is_waited_for_while_it_works(
    used: Sequence[float], up_after: int | None, periods: int
) -> None:
    boot = Boot(used, up_after)
    await_work(boot, boot.worked, 30.0)
    assert boot.periods == periods
