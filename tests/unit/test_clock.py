"""The clock of the machine: a condition is waited for; steps alongside leave nothing behind."""

from __future__ import annotations

import threading

import pytest

from lvslab.lab.clock import MachineClock, Steps

CLOCK = MachineClock()


def test_a_condition_that_holds_is_not_waited_for() -> None:
    assert CLOCK.wait(lambda: "seen", timeout=0, look=60) == "seen"


def test_a_condition_is_looked_at_until_the_time_is_over() -> None:
    looks = iter(range(1000))
    assert CLOCK.wait(lambda: next(looks) == 3, timeout=60, look=0.001)
    assert CLOCK.wait(lambda: None, timeout=0.01, look=60) is None


def test_steps_go_on_until_the_block_is_left_and_put_right_what_they_did() -> None:
    done: list[str] = []
    twice = threading.Event()

    def steps() -> Steps:
        while True:
            done.append("stopped")
            if len(done) > 3:
                twice.set()
            try:
                yield 3600.0 if twice.is_set() else 0.001
            finally:
                done.append("goes on")

    with CLOCK.alongside("steps", steps()) as alongside:
        alongside.start()
        assert twice.wait(60)
    assert done[:4] == ["stopped", "goes on"] * 2 and done[-1] == "goes on"
    assert done.count("stopped") == done.count("goes on")


def test_what_steps_raise_is_raised_at_the_end_once() -> None:
    broken = threading.Event()

    def steps() -> Steps:
        yield 0.0
        broken.set()
        raise ValueError("broken")

    alongside = CLOCK.alongside("steps", steps())
    alongside.start()
    assert broken.wait(60)
    with pytest.raises(ValueError, match="broken"):
        alongside.end()
    alongside.end()


def test_an_error_under_way_says_more_than_that_of_the_steps() -> None:
    def steps() -> Steps:
        yield 3600.0
        raise AssertionError("never reached")

    with pytest.raises(KeyError), CLOCK.alongside("steps", steps()) as alongside:
        alongside.start()
        raise KeyError("first")


def test_steps_that_were_never_started_do_nothing() -> None:
    done: list[str] = []

    def steps() -> Steps:
        done.append("started")
        yield 0.0

    with CLOCK.alongside("steps", steps()):
        pass
    assert done == []
