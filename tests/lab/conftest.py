"""Lab tests boot kernels and send packets. They are skipped, with the reason, only on a machine
that cannot; never under CI.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lvslab.host import sandbox

LVSLAB = [sys.executable, "-m", "lvslab"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker("lab")


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skip lab tests where the machine cannot run labs, unless LVSLAB_REQUIRE_LAB says that it
    must.
    """
    checked = subprocess.run([*LVSLAB, "check"], capture_output=True, text=True, timeout=120)
    if checked.returncode != 0:
        message = f"lvslab check ended with {checked.returncode}:\n{checked.stdout}{checked.stderr}"
        if os.environ.get("LVSLAB_REQUIRE_LAB"):
            pytest.fail(message)
        pytest.skip(message)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of training labs: what the exam and the doctor said of each, untouched and
    solved.
    """
    reports = [each for outcome in ("passed", "failed") for each in terminalreporter.stats.get(outcome, ())]
    rows = [value for report in reports for name, value in report.user_properties if name == "training"]
    if not rows:
        return
    table = [("lab", "untouched", "doctor", "solved", "doctor", "start", "all"), *sorted(rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    terminalreporter.section("training labs")
    for row in table:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


@dataclass(frozen=True)
class Outcome:
    """A finished `lvslab` command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.out)


def run_lvslab(
    *arguments: str, prefix: tuple[str, ...] = (), timeout: float = 120, **options: Any
) -> Outcome:
    """Run the command line; `prefix` is put before it, for example to drop privileges."""
    done = subprocess.run(
        [*prefix, *LVSLAB, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        **options,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def in_sandbox(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function inside a sandbox and return its value; an exception in there is
    raised here.
    """
    read, write = os.pipe()

    def work() -> int:
        os.close(read)
        try:
            answer = (True, function(*arguments))
        except BaseException as error:
            answer = (False, error)
        with os.fdopen(write, "wb") as pipe:
            try:
                pipe.write(pickle.dumps(answer))
            except Exception as error:
                pipe.write(pickle.dumps((False, RuntimeError(f"{answer!r}: {error}"))))
        return 0

    code = sandbox.run(work)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    assert data, f"the sandbox ended with {code} and no answer"
    good, value = pickle.loads(data)
    if not good:
        raise value
    return value
