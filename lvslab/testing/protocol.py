"""A test's whole protocol (set-up, call, tear-down) in a sandbox; the reports come back to the
session, which logs them as its own.

The forked process begins with everything that the session has: modules, fixtures of wider scope
that are already set up. Those it may use but does not tear down, they are the session's; fixtures
that are first set up in there end in there, with the test.
"""

from __future__ import annotations

import pickle
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest.runner import runtestprotocol

from lvslab.errors import CannotError, LabError
from lvslab.testing import process
from lvslab.testing.labtest import RUN_DIRECTORY, LabTest, last_lines
from lvslab.testing.process import Send

LINE = pytest.StashKey[Send]()
"""Of the configuration, in the sandbox: the way to the session."""

TEST = pytest.StashKey[LabTest]()
"""Of an item, in the sandbox: its run directory and labs."""

RUN, KEPT = "run", "kept"
"""Messages that fixtures send: the run directory there is; something worth keeping for the tests
that follow.
"""

_REPORT, _WARNING, _EXIT, _INTERRUPTED, _BROKEN = "report", "warning", "exit", "interrupted", "broken"

GRACE = 30.0
"""Seconds that a test has to put its labs away after its time was up, before it is killed."""


@dataclass
class _Heard:
    """What came back from the sandbox."""

    reports: list[pytest.TestReport] = field(default_factory=list)
    run: Path | None = None
    exit: tuple[str, int | None] | None = None
    interrupted: bool = False
    broken: str = ""


def run_item(
    item: pytest.Item,
    nextitem: pytest.Item | None,
    limit: float,
    require: bool,
    keep: bool,
    kept: Callable[[Any], None],
) -> None:
    """Carry out a test in a sandbox, log its reports, and leave the session as the next test wants
    it.

    Args:
        limit: seconds.
        require: fail where this machine has no sandbox, instead of a skip.
        keep: keep the run directory also of a passed test.
        kept: takes what fixtures keep for later tests.

    Raises:
        KeyboardInterrupt, pytest.exit.Exception: as the test raised them.
    """
    heard = _Heard()
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item, heard, limit, require, keep, kept):
        item.ihook.pytest_runtest_logreport(report=report)
    _tear_down(item, nextitem)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    if heard.exit:
        pytest.exit(*heard.exit)
    if heard.interrupted:
        raise KeyboardInterrupt


# -- in the session --------------------------------------------------------------------------------


def _reports(
    item: pytest.Item, heard: _Heard, limit: float, require: bool, keep: bool, kept: Callable[[Any], None]
) -> list[pytest.TestReport]:
    def take(word: str, value: Any) -> None:
        if word == KEPT:
            kept(value)
        else:
            _take(item, heard, word, value)

    problem = ""
    try:
        code = process.carry_out(lambda send: _guarded(item, send, limit, keep), take, limit + GRACE)
        if not heard.reports and not heard.interrupted and not heard.exit:
            problem = heard.broken or f"the test's process ended with {_ending(code)} before it had reported"
    except CannotError as error:
        reason = str(error)
        return [_report(item, "setup", lambda: refuse(item, reason, require))]
    except LabError as error:
        problem = f"{error}, {GRACE:g} s after it was asked to end"
    if not problem:
        return heard.reports
    lines = [problem]
    if heard.run:
        lines += [*last_lines(heard.run), f"{RUN_DIRECTORY}: {heard.run}"]
    return [_report(item, "call", lambda: pytest.fail("\n".join(lines), pytrace=False))]


def _take(item: pytest.Item, heard: _Heard, word: str, value: Any) -> None:
    if word == _REPORT:
        report = item.config.hook.pytest_report_from_serializable(config=item.config, data=value)
        heard.reports.append(report)
    elif word == _WARNING:
        text, category, file, line = value
        warnings.warn_explicit(text, category, file, line)
    elif word == RUN:
        heard.run = value
    elif word == _EXIT:
        heard.exit = value
    elif word == _INTERRUPTED:
        heard.interrupted = True
    elif word == _BROKEN:
        heard.broken = value


def refuse(item: pytest.Item, reason: str, require: bool) -> NoReturn:
    """Skip a test that cannot be run here, with the reason at the test's own place; fail it where
    that is demanded.
    """
    __tracebackhide__ = True
    if require:
        raise pytest.fail.Exception(f"{reason} (--lvs-require)", pytrace=False) from None
    raise pytest.skip.Exception(reason, _use_item_location=True) from None


def _report(item: pytest.Item, when: Any, what: Callable[[], object]) -> pytest.TestReport:
    """A report that the session makes itself, of something that raises."""
    call = pytest.CallInfo.from_call(what, when)
    report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
    return report


def _tear_down(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Put away what earlier tests have set up in the session and the next one does not need."""
    last = item.session.shouldfail or item.session.shouldstop
    leaving = (pytest.exit.Exception, KeyboardInterrupt)
    call = pytest.CallInfo.from_call(
        lambda: item.session._setupstate.teardown_exact(None if last else nextitem),
        "teardown",
        reraise=leaving,
    )
    if call.excinfo is not None:
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)


def _ending(code: int) -> str:
    return (
        f"signal {code - 128} ({signal.Signals(code - 128).name})" if 128 < code < 160 else f"status {code}"
    )


# -- in the sandbox --------------------------------------------------------------------------------


def _guarded(item: pytest.Item, send: Send, limit: float, keep: bool) -> None:
    try:
        _in_sandbox(item, send, limit, keep)
    except Exception:  # no mistake of the test's own, those are in its reports
        send(_BROKEN, traceback.format_exc())


def _in_sandbox(item: pytest.Item, send: Send, limit: float, keep: bool) -> None:
    state = item.session._setupstate
    _disown_fixtures(item)
    item.config.stash[LINE] = send
    reports: list[pytest.TestReport] = []
    with warnings.catch_warnings(record=True) as caught:
        try:
            with _time_limit(limit):
                reports = runtestprotocol(item, log=False, nextitem=None)
        except pytest.exit.Exception as leaving:
            state.teardown_exact(None)
            send(_EXIT, (leaving.msg, leaving.returncode))
        except KeyboardInterrupt:
            state.teardown_exact(None)
            send(_INTERRUPTED, None)
    for warning in caught:
        send(_WARNING, (str(warning.message), warning.category, warning.filename, warning.lineno))
    test = item.stash.get(TEST, None)
    if test is not None and not keep and not any(report.failed for report in reports):
        test.remove()
    for report in reports:
        data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
        send(_REPORT, _portable(data))


def _disown_fixtures(item: pytest.Item) -> None:
    """Forget how to tear down what the session has set up; whatever is added from here on is this
    process's own.
    """
    for finalizers, _ in item.session._setupstate.stack.values():
        finalizers.clear()
    # pytest before 8 schedules a fixture's end again with every use
    if isinstance(item, pytest.Function):
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for each in definitions:
                each._finalizers.clear()


def _portable(report: dict[str, Any]) -> dict[str, Any]:
    """A report's data; properties of the user's that cannot leave the process go as text."""
    try:
        pickle.dumps(report)
    except Exception:  # whatever an object's own pickling may raise
        return {
            **report,
            "user_properties": [(name, repr(value)) for name, value in report["user_properties"]],
        }
    return report


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Fail what runs in the main thread after some time, so that the report shows where it was."""

    def over(number: int, frame: object) -> None:
        __tracebackhide__ = True
        pytest.fail(
            f"no end within {seconds:g} s; give it more by --lvs-timeout or @pytest.mark.lvs(timeout=…)"
        )

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        lift_time_limit()
        signal.signal(signal.SIGALRM, before)


def lift_time_limit() -> None:
    """Let the test take its time from now on."""
    signal.setitimer(signal.ITIMER_REAL, 0)
