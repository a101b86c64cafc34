"""Verdicts of two runs set side by side, name by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lvslab.comparison.findings import Finding, Status
from lvslab.comparison.significance import more_often
from lvslab.runs.records import Verdict
from lvslab.runs.rundir import Run

_REPETITION = re.compile(r", \d+(?=: |$)")
"""Where the name of a scenario's result holds the number of its repetition: "with sync, 2: takes
over".
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one expectation in one repetition; `evidence` names files."""

    verdict: Verdict
    reason: str
    evidence: tuple[str, ...] = ()


def outcomes(runs: Sequence[Run]) -> dict[str, list[Outcome]]:
    """The outcomes of each expectation, by its name, in all repetitions and runs.

    Of a result with single checks these are compared, each under "result: check", so that a finding
    names what failed.
    """
    found: dict[str, list[Outcome]] = {}
    for run in runs:
        for result in run.results:
            name = _REPETITION.sub("", result.name) if run.kind == "run" else result.name
            evidence = tuple(str(run.path / file) for file in result.evidence)
            if result.checks:
                for check in result.checks:
                    found.setdefault(f"{name}: {check.name}", []).append(
                        Outcome(check.verdict, check.reason, evidence)
                    )
            else:
                found.setdefault(name, []).append(Outcome(result.verdict, result.reason, evidence))
    return found


def compare(base: Sequence[Run], new: Sequence[Run], subject: str, level: float) -> list[Finding]:
    """A finding for each expectation of either side, in the order of the base, new ones last.

    Args:
        level: of the test whether something that failed sometimes fails more often.
    """
    before, after = outcomes(base), outcomes(new)
    skipped = {
        name: each[0].reason for name, each in after.items() if all(one.verdict == "skip" for one in each)
    }
    found = []
    for name in dict.fromkeys([*before, *after]):
        if name not in after:
            whole = next((reason for mode, reason in skipped.items() if name.startswith(f"{mode}: ")), None)
            status = Status.MISSING if whole is None else Status.NEWLY_SKIPPED
            if all(each.verdict == "skip" for each in before[name]):
                status = Status.SKIPPED
            found.append(Finding(subject, name, status, whole or _why_missing(new)))
        elif name not in before:
            found.append(Finding(subject, name, Status.ADDED, _added(after[name]), _evidence(after[name])))
        else:
            status, reason = judge(before[name], after[name], level)
            found.append(
                Finding(subject, name, status, reason, _evidence(after[name]), tries=len(after[name]))
            )
    return found


def judge(base: Sequence[Outcome], new: Sequence[Outcome], level: float) -> tuple[Status, str]:
    """What became of an expectation, and why one says so."""
    before = [each for each in base if each.verdict != "skip"]
    after = [each for each in new if each.verdict != "skip"]
    if not after:
        return (Status.NEWLY_SKIPPED if before else Status.SKIPPED), new[0].reason
    if not before:
        return Status.ADDED, f"skipped in the base run ({base[0].reason}); {_added(after)}"
    failed = (
        [each for each in before if each.verdict == "fail"],
        [each for each in after if each.verdict == "fail"],
    )
    counts = f"{_count(len(failed[0]), len(before))}, now {_count(len(failed[1]), len(after))}"
    single = len(before) == len(after) == 1
    if not failed[1]:
        if not failed[0]:
            return Status.SAME, after[0].reason
        return Status.FIXED, f"failed before: {failed[0][0].reason}" if single else f"failed {counts}"
    reason = failed[1][0].reason
    if not failed[0]:
        return Status.NEWLY_FAILING, reason if single else f"failed {counts}: {reason}"
    p = more_often(len(failed[0]), len(before), len(failed[1]), len(after))
    if p <= level:
        return Status.FAILING_MORE, f"failed {counts} (Fisher p {p:.2g}): {reason}"
    return Status.STILL_FAILING, reason if single else f"failed {counts}: {reason}"


def broke(base: Sequence[Run], new: Sequence[Run], subject: str) -> list[Finding]:
    """A new run that broke where the base run did not is a finding of its own: a kernel that dies
    fails no check.
    """
    dead = [run for run in new if run.status == "broken"]
    if not dead:
        return []
    reason = f"the lab broke: {dead[0].error}"
    status = Status.STILL_FAILING if any(run.status == "broken" for run in base) else Status.NEWLY_FAILING
    return [Finding(subject, "the run completes", status, reason, (str(dead[0].path / "logs"),))]


def _why_missing(runs: Sequence[Run]) -> str:
    unfinished = next((run for run in runs if run.status != "complete"), None)
    if unfinished is not None:
        return f"not in the new run, which is {unfinished.status}"
    return "not in the new run"


def _added(after: Sequence[Outcome]) -> str:
    failed = [each for each in after if each.verdict == "fail"]
    if failed:
        return f"fails now: {failed[0].reason}"
    return "skipped now" if after[0].verdict == "skip" else "passes now"


def _count(failed: int, tries: int) -> str:
    return f"{failed} of {tries}"


def _evidence(after: Sequence[Outcome]) -> tuple[str, ...]:
    """The files of the first failure, or of the first outcome."""
    return next((each.evidence for each in after if each.verdict == "fail"), after[0].evidence)
