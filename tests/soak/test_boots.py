"""Guests boot, thousands of times, on a machine whose processors are all busy, and none dies.

`make soak`; LVSLAB_SOAK_BOOTS says how many, by default 2,000, which takes an hour or two.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from lvslab.host import sandbox
from tests.busy import busy_processors
from tests.lab.conftest import in_sandbox

BOOTS = int(os.environ.get("LVSLAB_SOAK_BOOTS", "2000"))
AT_ONCE = 3


def _boot(count: int) -> Counter[str]:
    """How guests ended that should have come up: their last words, and how often."""
    from lvslab.errors import GuestError
    from lvslab.kernels.uml import UmlKernel

    kernel, deaths = UmlKernel.installed(), Counter[str]()
    with busy_processors():
        for turn in range(0, count, AT_ONCE):
            places = [sandbox.PRIVATE_DIRECTORY / f"g{turn + number}" for number in range(AT_ONCE)]
            guests = [
                kernel.boot(place.name, ["ip_vs"], place, place.with_suffix(".console")) for place in places
            ]
            for guest in guests:
                try:
                    guest.wait_ready(120)
                except GuestError as error:
                    deaths[str(error).partition(" (console")[0].partition(": ")[2]] += 1
            for guest in guests:
                guest.close()
                Path(guest.console_log).unlink()
            # An hour or two pass: who ends it before loses nothing. Seen with pytest -s.
            print(f"{turn + AT_ONCE} boots, {deaths.total()} deaths {dict(deaths) or ''}", flush=True)
    return deaths


def test_no_boot_dies() -> None:
    deaths = in_sandbox(_boot, BOOTS)
    assert not deaths, f"of {BOOTS} boots: {dict(deaths)}"
