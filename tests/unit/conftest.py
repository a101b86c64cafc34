"""Fixtures of several modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import build, store
from lvslab.kernels import probe
from lvslab.kernels.needs import KernelFacts, Need


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
