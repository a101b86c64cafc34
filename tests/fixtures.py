"""Fixtures of the tests that need no kernel, unit and integration: pictures cost little, and pages
can be had without; the trial boot of a kernel is played.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import build, store
from lvslab.host import provenance
from lvslab.kernels import probe
from lvslab.kernels.needs import KernelFacts, Need

COARSE = 20
"""Dots per inch of the PNG files: no test looks at their pixels, and at full size encoding them
takes longer than all else in a report.
"""


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
