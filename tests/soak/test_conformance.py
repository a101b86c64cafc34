"""The conformance suite says the same of one kernel again and again, minutes each time."""

from __future__ import annotations

from pathlib import Path

from tests.lab.conftest import run_lvslab

SUITES = 2


def _verdicts(runs: Path) -> dict[str, str]:
    """Name → verdict of every check."""
    done = run_lvslab("verify", "--full", "--json", "--runs", str(runs), timeout=3600)
    return {each["name"]: each["verdict"] for each in done.data["results"]}


def test_another_run_gives_the_same_verdicts(tmp_path: Path) -> None:
    first, *others = [_verdicts(tmp_path) for _ in range(SUITES)]
    assert first and all(other == first for other in others)
