"""Lab tests boot kernels and send packets. They are skipped, with the reason, only on a machine
that cannot; never under CI.

Labs wait much, so `make lab` runs some modules side by side (pytest-xdist), each lab in namespaces
of its own; what shares nothing with others of its module (`SPREAD`) goes alone. Tests marked
`timed` come after that: on a busy machine they would judge nothing.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from lvslab.catalog.virtual_time import entry_in_virtual_time
from lvslab.errors import CannotError
from lvslab.host import sandbox
from lvslab.kernels.uml import UmlKernel
from tests.lab.quick import first_here

LVSLAB = [sys.executable, "-m", "lvslab"]
QUICK, QUICKEST = ("debian/trixie",), ("debian/forky", "debian/trixie")
"""Guests that cost less of the processors than the installed ones; the first that `make kernels`
has fetched is taken. Debian 13's take half of it to boot and to start a program; those after 13 run
programs under seccomp in place of ptrace, which halves it again, but have no iptables.
"""


LONG = [
    Path(__file__).with_name(f"test_{name}.py")
    for name in (
        *("conformance", "rehearse", "training", "fixes", "health", "plugin", "proxies", "matrix"),
        *("virtual_scenarios", "timers", "classroom", "printed_script", "bench", "verify", "run", "sweep"),
    )
]
"""Modules of minutes: they begin first, or they would be the last to end."""


SPREAD = (
    "test_fixes.py",
    "test_health.py",
    "test_rehearse.py",
    "test_training.py::test_a_lab_fails_untouched_for_its_reason",
)
"""Beginnings of the names of tests that share nothing with others of their module: any process
takes them, where all others of a module share its labs in one.
"""


class _ByModule(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out modules whole, but for tests that share nothing."""

    def _split_scope(self, nodeid: str) -> str:
        module, _, test = nodeid.partition("::")
        name = f"{Path(module).name}::{test}"
        return nodeid if name.startswith(SPREAD) else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _ByModule | None:
    """In place of `--dist loadscope`. Not by groups: pytest-xdist 3.8 writes those into `_nodeid`,
    which pytest 9.2 does not have.
    """
    return _ByModule(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("lab")
    items.sort(key=lambda item: LONG.index(item.path) if item.path in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    """Skip lab tests where the machine cannot run labs, unless LVSLAB_REQUIRE_LAB says that it
    must; then there must be a kernel for virtual time, too.
    """
    checked = subprocess.run([*LVSLAB, "check"], capture_output=True, text=True, timeout=600)
    if checked.returncode != 0:
        message = f"lvslab check ended with {checked.returncode}:\n{checked.stdout}{checked.stderr}"
        if os.environ.get("LVSLAB_REQUIRE_LAB"):
            pytest.fail(message)
        pytest.skip(message)
    if os.environ.get("LVSLAB_REQUIRE_LAB"):
        try:
            entry_in_virtual_time()
        except CannotError as error:
            pytest.fail(f"tests in virtual time would be skipped: {error}")


def quick_lvslab(kernels: Sequence[str]) -> list[str]:
    """The command `lvslab` with the first of these kernels that is here as the installed one."""
    return [sys.executable, str(Path(__file__).with_name("quick.py")), ",".join(kernels)]


@contextmanager
def guests_of(kernels: Sequence[str]) -> Iterator[None]:
    """Guests of this process, and those of the commands that it starts, boot the first of these
    kernels that is here in place of the installed one.
    """
    with pytest.MonkeyPatch.context() as patch:
        found = first_here(kernels)
        if found:
            patch.setattr(UmlKernel, "installed", lambda: found)
            patch.setattr(f"{__name__}.LVSLAB", quick_lvslab(kernels))
        yield


@pytest.fixture(scope="module")
def quick_guests() -> Iterator[None]:
    """For tests of what happens around a kernel."""
    with guests_of(QUICK):
        yield


@pytest.fixture(scope="module")
def quickest_guests() -> Iterator[None]:
    """For tests of what happens around a kernel, without iptables."""
    with guests_of(QUICKEST):
        yield


_COST = "processor seconds"
_BEFORE = pytest.StashKey[float]()


def _processor_seconds() -> float:
    """Of this process and of all descendants that have ended and were waited for."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Note what a test costs, its fixtures with it: a module that only waits is free to wait."""
    item.stash[_BEFORE] = _processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "teardown":
        report.user_properties.append((_COST, _processor_seconds() - item.stash[_BEFORE]))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How long each module took, in all of its tests, and what of the processors; and the table of
    training labs: what the exam and the doctor said of each, untouched and solved.
    """
    reports = [each for outcome in terminalreporter.stats.values() for each in outcome]
    seconds: dict[str, float] = defaultdict(float)
    processor: dict[str, float] = defaultdict(float)
    for report in reports:
        if isinstance(report, pytest.TestReport) and report.nodeid.startswith("tests/lab/"):
            module = report.nodeid.partition("::")[0]
            seconds[module] += report.duration
            processor[module] += sum(
                float(str(cost)) for name, cost in report.user_properties if name == _COST
            )
    if seconds:
        terminalreporter.section("seconds of modules: by the clock, and of processors")
        for module, spent in sorted(processor.items(), key=lambda row: -row[1]):
            terminalreporter.write_line(f"{seconds[module]:7.1f} {spent:7.1f}  {module}")
    rows = [
        value
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "training" and report.when == "call"
    ]
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
    *arguments: str,
    prefix: tuple[str, ...] = (),
    timeout: float = 300,
    stdin: int = subprocess.DEVNULL,
    command: list[str] | None = None,
    **options: Any,
) -> Outcome:
    """Run the command line, `command` in place of `LVSLAB`; `prefix` is put before it, for example
    to drop privileges.
    """
    done = subprocess.run(
        [*prefix, *(command or LVSLAB), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=stdin,
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
