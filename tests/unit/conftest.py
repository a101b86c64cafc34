"""Fixtures of several modules; pictures cost little in unit tests, and pages can be had without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import build, store
from lvslab.host import provenance
from lvslab.kernels import probe
from lvslab.kernels.needs import KernelFacts, Need
from lvslab.traffic.prober import ProbeSpec
from tests.unit.probing import Run

COARSE = 20
"""Dots per inch of the PNG files: no test looks at their pixels, and at full size encoding them
takes longer than all else in a report.
"""


LONG = [
    f"test_{name}.py"
    for name in (
        *("sweep_crew", "report", "probe_program", "bisect", "probe_connections", "failover_report"),
        *("mutants", "plugin", "failover_charts", "bad_input", "house", "report_drawings"),
    )
]
"""Modules of seconds: they begin first, or they would be the last to end. Those that mostly wait
are the first of them.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long modules first, the order otherwise as it was."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def coarse_pictures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lvslab.report.style.DPI", COARSE)
        yield


@pytest.fixture(scope="session", autouse=True)
def tools_asked_once() -> Iterator[None]:
    """Every run notes its tools' versions, some fifteen programs: here they are started once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "tools", cache(provenance.tools))
        yield


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of a page's words and links: each figure is an empty file and an empty <svg> with
    its description, and nothing is drawn.
    """

    def sketch(svg: str, name: str, description: str, theme: object) -> str:
        from html import escape

        return f'<svg role="img" aria-label="{escape(description, quote=True)}"></svg>'

    def touch(figure: object, file: Path) -> str:
        file.touch()
        return ""

    monkeypatch.setattr("lvslab.report.style.drawn", touch)
    monkeypatch.setattr("lvslab.report.style.inline_svg", sketch)


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The trial boot's answer, which a test may change; the cache is the test's."""
    facts = KernelFacts("uml", "6.1.192", "ab", frozenset({Need.IP_VS}), {Need.SYNPROXY: "no table"}, None)
    answer: dict[str, Any] = {"extra_arguments": [], "boot_seconds": 0.5, "facts": probe.facts_to_json(facts)}

    def run_trial(directory: Path, console: Path, result: Path) -> dict[str, Any]:
        console.write_text("Linux version 6.1.192\nKernel panic - not syncing\n")
        return answer

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "run_trial", run_trial)
    monkeypatch.setattr(build, "NEEDED_MIB", 0)
    yield answer


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
