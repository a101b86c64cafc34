"""Every timer of IPVS to the jiffy, on every kernel in virtual time that is here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.test_timers import judge_timers
from tests.lab.test_virtual_time import KERNELS


def test_there_is_a_kernel_in_virtual_time() -> None:
    assert KERNELS, "lvslab kernels build debian/trixie --virtual-time"


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_timer_is_right_to_the_jiffy(kernel: str, tmp_path: Path) -> None:
    judge_timers(kernel, tmp_path)
