"""Guests boot, thousands of times, on a machine whose processors are all busy, and none dies.

`make soak`; LVSLAB_SOAK_BOOTS says how many of each kernel, by default 2,000, which takes half an
hour. The consoles of those that died are kept.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from lvslab.host import sandbox
from tests.busy import busy_processors
from tests.lab.conftest import in_sandbox

BOOTS = int(os.environ.get("LVSLAB_SOAK_BOOTS", "2000"))
AT_ONCE = 5


def _boot(name: str, count: int, keep: Path) -> Counter[str]:
    """How guests ended that should have come up: their last words, and how often."""
    from lvslab.errors import GuestError

    kernel, deaths = catalog.find(name), Counter[str]()
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
                    shutil.copy(guest.console_log, keep)
            for guest in guests:
                guest.close()
                Path(guest.console_log).unlink()
            # Half an hour passes: who ends it before loses nothing. Seen with pytest -s.
            print(f"{name}: {turn + AT_ONCE} boots, {deaths.total()} deaths {dict(deaths) or ''}", flush=True)
    return deaths


@pytest.mark.parametrize("kernel", ["uml", "debian/trixie"])
def test_no_boot_dies(kernel: str, tmp_path: Path) -> None:
    deaths = in_sandbox(_boot, kernel, BOOTS, tmp_path)
    assert not deaths, f"of {BOOTS} boots of {kernel}: {dict(deaths)}; their consoles: {tmp_path}"
