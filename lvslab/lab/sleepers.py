"""A trial whether packets sleep in front of a kernel's guests (`lvslab.kernels.waking`): a director
under requests that follow each other at once.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lvslab.kernels.needs import Kernels
from lvslab.kernels.uml import UmlGuest
from lvslab.lab import ask_program
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.services import HTTP_PORT
from lvslab.plan.spec import LabSpec
from lvslab.runs.words import plural

SECONDS = 1.5


@dataclass(frozen=True)
class Sleepers:
    """What a trial showed.

    Attributes:
        requests: how many were answered.
        calls: how often the guest was found asleep on a packet, and called.
        unheard: how often it was in the same sleep still after a call.
    """

    requests: int
    calls: int
    unheard: int

    @property
    def wakes(self) -> bool:
        """Whether a call wakes the guest."""
        return 2 * self.unheard <= self.calls

    def __str__(self) -> str:
        seen = f"in {self.requests} requests through a director its guest fell asleep on a packet"
        if not self.calls:
            return f"none sleeps: {seen} never"
        if self.wakes:
            return f"none sleeps: {seen} {plural(self.calls, 'time')}, and was woken"
        return (
            f"they sleep: {seen} and was not woken by {self.unheard} of {self.calls} calls; latencies have a"
            " false tail"
        )


def try_director(kernels: Kernels, kernel: str, seconds: float = SECONDS) -> Sleepers:
    """Send requests through a director on a User-Mode Linux kernel for some seconds.

    Raises:
        LabError: the lab did not start, or a request was not answered.
    """
    plan = make_plan(LabSpec.of("nat", kernels=[kernel]), kernels)
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        guest = lab.guest(plan.director.name)
        assert isinstance(guest, UmlGuest) and guest.waker
        program = [sys.executable, "-S", ask_program.__file__]
        command = [*program, plan.addresses.vip, str(HTTP_PORT), f"{seconds:g}"]
        asked = lab.clients[0].run(shlex.join(command), timeout=seconds + 20).check("c1", "requests")
        return Sleepers(int(asked), guest.waker.calls, guest.waker.unheard)
