"""A lab whose guests would not fit into the machine's memory is refused before one boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.errors import CannotError
from lvslab.lab import room

MEMINFO = """\
MemTotal:        4028344 kB
MemFree:          102400 kB
MemAvailable:    1048576 kB
SwapCached:            0 kB
SwapTotal:        524288 kB
SwapFree:         262144 kB
HugePages_Total:       0
"""


def test_available_is_what_programs_can_take(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert room.available_mib(tmp_path / "meminfo") == 1024 + 256


def test_the_machine_has_some() -> None:
    assert room.available_mib() > 0


def test_guests_that_fit_are_let_through() -> None:
    room.refuse("lvs-nat", {"lvs": 128, "rs1": 128}, 256)
    room.refuse("lvs-nat", {}, 0)


def test_guests_that_do_not_fit_are_refused_with_the_sum() -> None:
    with pytest.raises(CannotError, match=r"2 guest kernels \(lvs, rs1\) may take 256 MiB .* 255 MiB are"):
        room.refuse("lvs-nat", {"lvs": 128, "rs1": 128}, 255)
