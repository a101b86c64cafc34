"""Tests that start programs and draw whole reports, still without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvslab.traffic.prober import ProbeSpec
from tests.fixtures import coarse_pictures, sketched, tools_asked_once, trial  # noqa: F401, by name
from tests.unit.probing import Run

LONG = [
    f"test_{name}.py"
    for name in ("sweep_crew", "report", "probe_program", "bisect", "probe_connections", "failover_report")
]
"""Modules of seconds: they begin first, or they would be the last to end. Those that mostly wait
are the first of them.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, the order otherwise as it was."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[ProbeSpec], Run]]:
    """Starts the prober's program as a process; what still runs at the end is killed."""
    runs: list[Run] = []

    def begin(given: ProbeSpec) -> Run:
        runs.append(Run(tmp_path, given))
        return runs[-1]

    yield begin
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()
        for stream in (run.process.stdin, run.process.stdout, run.process.stderr):
            assert stream is not None
            stream.close()
