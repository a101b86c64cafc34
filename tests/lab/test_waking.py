"""No packet sleeps in front of a guest; without the waker some do, so the test can fail."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import catalog
from lvslab.kernels import probe
from lvslab.kernels.machine import Guest
from lvslab.kernels.needs import Need
from lvslab.kernels.uml import UmlGuest
from lvslab.lab.lab import Lab
from lvslab.lab.sleepers import SECONDS, Sleepers, try_director
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.traffic import latency
from tests.lab.conftest import in_sandbox

REQUESTS = 300
"""In a round. Without the waker 1 to 4 of 100 find the guest asleep on a quiet machine, on a busy
one fewer.
"""

CALLS = 4
TRIALS = 5
ROUNDS = 20
"""At most, until what is waited for has been seen."""


def ask(lab: Lab, seen: Callable[[], bool]) -> None:
    """Requests, one after the other, until something was seen."""
    command = f"{sys.executable} -S {latency.__file__} {lab.plan.addresses.vip} 80 {REQUESTS}"
    for _ in range(ROUNDS):
        done = json.loads(lab.clients[0].run(command, timeout=120).check("c1", "requests"))
        assert not done["failed"]
        if seen():
            return


@pytest.mark.parametrize("kernel", ["uml", "debian/trixie"])
def test_a_guest_that_sleeps_on_a_frame_is_woken(kernel: str) -> None:
    if kernel != "uml" and not any(entry.name == kernel for entry in catalog.entries()):
        pytest.skip(f"lvslab kernels fetch {kernel}")

    def work() -> Any:
        kernels = catalog.including(probe.kernels_here([Need.IP_VS], "uml"), (kernel,))
        plan = make_plan(LabSpec.of("dr", kernels=[kernel]), kernels)
        with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
            guest = lab.guest("lvs")
            assert isinstance(guest, UmlGuest) and guest.waker
            waker, wake = guest.waker, guest.waker._wake
            ask(lab, lambda: waker.calls >= CALLS)
            heard = waker.calls, waker.unheard
            waker._wake = lambda: None
            ask(lab, lambda: waker.unheard > heard[1])
            waker._wake = wake
            return heard, waker.unheard

    (calls, unheard), in_all = in_sandbox(work)
    assert calls > 0, "frames come while the guest falls asleep, and it is called"
    assert 2 * unheard <= calls, "a call wakes it"
    assert in_all > unheard, "and without the call it sleeps on"


@pytest.mark.parametrize("calls", [True, False], ids=["called", "not called"])
def test_check_says_whether_packets_sleep(calls: bool) -> None:
    def work() -> list[Sleepers]:
        if not calls:
            Guest.send_signal = ignore(Guest.send_signal)  # type: ignore[assignment, method-assign]
        kernels = probe.kernels_here([Need.IP_VS], "uml")
        seen: list[Sleepers] = []
        while len(seen) < TRIALS and not any(each.calls for each in seen):
            seen.append(try_director(kernels, "uml", 4 * SECONDS))
        return seen

    *_, last = in_sandbox(work)
    assert last.requests > 0 and last.calls > 0
    assert last.wakes == calls, last


def ignore(send: Callable[[Guest, signal.Signals], bool]) -> Callable[[Guest, signal.Signals], bool]:
    return lambda guest, number: number == signal.SIGIO or send(guest, number)
