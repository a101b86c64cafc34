"""What tests of the catalog share: what looks like a kernel source tree, and a clean cache."""

from __future__ import annotations

from pathlib import Path

from lvslab.kernels.cache import cache_directory

MAKEFILE = "# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 192\nEXTRAVERSION =\nNAME = Curry Ramen\n"


def make_tree(where: Path, rules: str = "") -> Path:
    """What is recognised as a kernel source tree."""
    (where / "arch" / "um").mkdir(parents=True)
    (where / "Kconfig").touch()
    (where / "COPYING").write_text("GPL-2.0\n")
    (where / "Makefile").write_text(MAKEFILE + rules)
    return where


def nothing_left(*more: str) -> bool:
    """Whether the cache holds no unfinished work, and nothing else but some files."""
    return {path.name for path in cache_directory().iterdir()} <= {"lock", *more}
