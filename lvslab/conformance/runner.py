"""Runs checks one after the other on one bench; after each the director must be as it was."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.conformance.check import Check
from lvslab.conformance.seen import Logged
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed, CheckSkipped
from lvslab.errors import GuestError, LvslabError
from lvslab.kernels.needs import NEEDS, Need
from lvslab.runs.pcapng import INBOUND, OUTBOUND, PcapngWriter
from lvslab.runs.records import Result, Verdict

NEEDED = (Need.IPVS_SNAT, Need.SYNPROXY, Need.IPIP)
"""What some checks need from the director's kernel besides IPVS; checks that need what it lacks are
skipped.
"""


Lateness = Callable[[float, float], float]
"""By how many seconds the machine was late between two moments, in seconds since the epoch."""


@dataclass(frozen=True)
class Outcome:
    """What became of a check.

    Attributes:
        verdict: "pass", "fail" or "skip".
        reason: one line: what held, what was wrong, or why it could not be tried.
        detail: lines that show what was wrong.
        seconds: how long it took.
        evidence: files, relative to the run directory.
    """

    check: Check
    verdict: Verdict
    reason: str
    detail: tuple[str, ...]
    seconds: float
    evidence: tuple[str, ...] = ()

    def result(self) -> Result:
        """As the run directory keeps it."""
        return Result(
            self.check.name,
            self.verdict,
            self.reason,
            self.evidence,
            detail=self.detail,
            seconds=round(self.seconds, 3),
            tags=tuple(self.check.tags),
        )


def run_checks(
    bench: Bench, checks: Iterable[Check], captures: Path, lateness: Lateness = lambda since, until: 0.0
) -> Iterator[Outcome]:
    """Run checks in their order; each outcome is yielded as soon as there is one.

    Raises:
        LabError: the director does not answer any more.
    """
    has = bench.lab.plan.director.needs
    for check in checks:
        lacking = [need for need in check.needs if need not in has]
        if lacking:
            titles = ", ".join(NEEDS[need].title for need in lacking)
            yield Outcome(check, "skip", f"kernel {bench.release} lacks: {titles}", (), 0.0)
            continue
        yield _run(bench, check, captures, lateness)


def _run(bench: Bench, check: Check, captures: Path, lateness: Lateness) -> Outcome:
    began, since = time.monotonic(), time.time()
    verdict: Verdict = "pass"
    reason = check.expects
    detail: tuple[str, ...] = ()
    try:
        check.run(bench)
    except CheckFailed as failure:
        verdict, reason, detail = "fail", str(failure), failure.detail
    except CheckSkipped as why:
        verdict, reason = "skip", str(why)
    except GuestError:
        raise
    except LvslabError as error:
        # Also what lvslab refuses inside a check: that fails this check and not the suite.
        verdict, reason = "fail", str(error)
    except Exception as error:
        # A broken kernel can show what a check was not written for; the others are still wanted.
        verdict, reason = "fail", f"the check itself broke: {type(error).__name__}: {error}"
        detail = tuple(traceback.format_exc().splitlines())
    if verdict == "fail" and check.spoilt_by is not None:
        late = lateness(since, time.time())
        if late >= check.spoilt_by:
            verdict, reason = "skip", f"not judged: the machine was late by {late:.1f} s: {reason}"
    log = list(bench.log)
    left = bench.reset()
    if left and verdict != "fail":
        verdict, reason = "fail", f"the director is not as it was before: {left}"
    evidence = (_write_capture(bench, check, log, captures),) if verdict == "fail" and log else ()
    return Outcome(check, verdict, reason, tuple(detail), time.monotonic() - began, evidence)


def _write_capture(bench: Bench, check: Check, log: Sequence[Logged], captures: Path) -> str:
    """The frames of a failed check as a capture; the interfaces are the director's."""
    names = [interface.name for interface in bench.lab.plan.director.interfaces[:2]]
    file = captures / f"{re.sub('[^A-Za-z0-9]+', '-', check.name)}.pcapng"
    with PcapngWriter(file, names) as writer:
        for entry in log:
            number = 0 if entry.wire == bench.outside.name else 1
            direction = INBOUND if entry.sent else OUTBOUND
            writer.write(number, int(entry.time * 1e9), bytes(entry.frame), direction, "")
    return f"captures/{file.name}"
