"""The profile "timers" without a kernel: the timer wheel's arithmetic, and what is checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.conformance.check import all_checks, timer_checks
from lvslab.conformance.jiffies import goes_off, granularity

HZ = 100
TIMEOUTS = st.integers(0, 40 * 24 * 3600 * HZ)


@pytest.mark.parametrize(
    ("timeout", "width"),
    [(0, 1), (62, 1), (63, 8), (503, 8), (504, 64), (4031, 64), (4032, 512), (32255, 512), (32256, 4096)],
)
def test_buckets_are_as_wide_as_the_kernels_levels(timeout: int, width: int) -> None:
    """LVL_START and LVL_GRAN of kernel/time/timer.c."""
    assert granularity(timeout) == width


@pytest.mark.parametrize(
    ("armed", "timeout", "end"),
    [(1000, 0, 1001), (1000, 62, 1063), (1000, 63, 1064), (1000, 100, 1104), (1007, 97, 1112)],
)
def test_a_timer_goes_off_at_the_end_of_its_bucket(armed: int, timeout: int, end: int) -> None:
    assert goes_off(armed, timeout) == end


@given(st.integers(0, 1 << 40), TIMEOUTS)
def test_no_timer_is_early_and_none_later_than_its_bucket_is_wide(armed: int, timeout: int) -> None:
    late = goes_off(armed, timeout) - armed - timeout
    assert 1 <= late <= granularity(timeout)
    assert goes_off(armed, timeout) % granularity(timeout) == 0


@given(TIMEOUTS)
def test_buckets_become_wider_with_the_distance(timeout: int) -> None:
    assert granularity(timeout) <= granularity(timeout + 1)


def test_no_check_of_a_timer_is_in_the_suite_too() -> None:
    timers = {check.name for check in timer_checks()}
    assert len(timers) > 80 and all(name.startswith("timers:") for name in timers)
    assert not timers & {check.name for check in all_checks()}


@pytest.mark.parametrize(
    "state", ["ESTABLISHED", "SYN_RECV", "TIME_WAIT", "CLOSE_WAIT", "LAST_ACK", "LISTEN"]
)
def test_every_tcp_state_is_among_them(state: str) -> None:
    assert [check for check in timer_checks() if check.name.endswith(f":{state}") and "tcp" in check.tags]
