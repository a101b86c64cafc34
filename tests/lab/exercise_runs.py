"""Training labs run in processes of their own, some ahead of the tests that ask for them: they wait
much, and compute little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from lvslab.training.exercise import Exercise

_LAB_SECONDS = 180


class Runs:
    """What became of each lab; `options` are those of `tests.lab.exercise_program`."""

    def __init__(self, names: list[str], *options: str) -> None:
        self._options = options
        self._pool = ThreadPoolExecutor(max_workers=1 + (os.cpu_count() or 1))
        self._futures: dict[str, Future[dict[str, Any]]] = {
            name: self._pool.submit(self._run, name) for name in names
        }

    def _run(self, name: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.lab.exercise_program", name, *self._options]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LAB_SECONDS, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def of(self, name: str) -> dict[str, Any]:
        return self._futures[name].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def runs_of(request: pytest.FixtureRequest, *options: str) -> Iterator[Runs]:
    """Of the labs whose tests were selected in the module that asks."""
    selected = [
        item.callspec.params.get("exercise")
        for item in request.session.items
        if hasattr(item, "callspec") and item.path == request.path
    ]
    found = Runs([each.name for each in selected if isinstance(each, Exercise)], *options)
    try:
        yield found
    finally:
        found.close()
