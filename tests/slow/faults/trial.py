"""The faults one after the other on a director, and which check sees each."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lvslab.catalog import catalog
from lvslab.conformance.check import Check, all_checks, select
from lvslab.conformance.runner import NEEDED, run_checks
from lvslab.conformance.testbed import Bench, LabBench
from lvslab.errors import GuestError, LabError
from lvslab.kernels import probe
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from tests.slow.faults.fault import SWITCH, Fault

_RESULTS = "results.json"
_FILE = f"/sys/module/ip_vs/parameters/{SWITCH}"


@dataclass(frozen=True)
class Seen:
    """What became of a fault.

    Attributes:
        check: that saw it, "" when none did. reason: what that check said.
        tried: how many checks were carried out until then.
        alarm: why the check does not count, because it fails without the fault too; else "".
    """

    fault: str
    check: str = ""
    reason: str = ""
    tried: int = 0
    alarm: str = ""


def try_all(faults: Sequence[tuple[int, Fault]], kernel: str, root: Path, whole: bool) -> list[Seen]:
    """Try faults by their numbers, in a sandbox; each result is kept in `root` as it comes.

    A director that does not answer any more is tried again in a new lab, for a busy machine may be
    the cause: a fault counts as seen when the same check ends it twice. Where a check fails without
    the fault, too, a new lab tells whether the fault has left something behind.

    Args:
        whole: the whole suite where the checks that are named see nothing.

    Raises:
        LabError: the lab did not start.
    """
    kernels = catalog.including(probe.kernels_here(NEEDED, "uml"), [kernel])
    needs = [need for need in NEEDED if need in kernels.facts[kernel].met]
    plan = make_plan(LabSpec.of("nat", kernels=[kernel], servers=1, more_needs=needs), kernels)
    left, results = list(faults), list[Seen]()
    begun, ended = list[Check](), ""
    doubtful: Seen | None = None
    for lab in itertools.count(1):
        logs = root / f"lab-{lab}"
        logs.mkdir(parents=True, exist_ok=True)
        try:
            with Lab(plan, logs) as running, LabBench(running) as bench:
                if doubtful:
                    sound = _fails(bench, select(all_checks(), [doubtful.check])[0], logs)
                    _add(root, results, replace(doubtful, alarm=sound))
                    doubtful = None
                while left and not doubtful:
                    seen = _try(bench, *left[0], whole, logs, begun)
                    left.pop(0)
                    begun, ended = [], ""
                    if seen.alarm:
                        doubtful = seen
                    else:
                        _add(root, results, seen)
            if not doubtful:
                return results
        except (GuestError, LabError) as error:
            if not left or not begun:
                raise
            last, tried = begun[-1].name, len(begun)
            if ended == last:
                _, fault = left.pop(0)
                _add(root, results, Seen(fault.name, last, f"it ended the director: {error}", tried))
            begun, ended = [], "" if ended == last else last
    raise AssertionError("unreachable")


def read(root: Path) -> dict[str, Seen]:
    """What is known of each fault by its name, from all trials in a folder."""
    file = root / _RESULTS
    return {each["fault"]: Seen(**each) for each in json.loads(file.read_text())} if file.exists() else {}


def _add(root: Path, results: list[Seen], seen: Seen) -> None:
    results.append(seen)
    known = {**read(root), seen.fault: seen}
    (root / _RESULTS).write_text(json.dumps([asdict(each) for each in known.values()], indent=1))


def _try(bench: Bench, number: int, fault: Fault, whole: bool, logs: Path, begun: list[Check]) -> Seen:
    """`begun` takes every check that is carried out with the fault, when it begins."""
    for check in _order(fault, whole):
        begun.append(check)
        _switch(bench, number)
        (outcome,) = run_checks(bench, [check], logs)
        if outcome.verdict != "fail":
            continue
        _switch(bench, 0)
        return Seen(fault.name, check.name, outcome.reason, len(begun), _fails(bench, check, logs))
    _switch(bench, 0)
    return Seen(fault.name, tried=len(begun))


def _fails(bench: Bench, check: Check, logs: Path) -> str:
    """Why a check does not count, because it fails without a fault; else ""."""
    (again,) = run_checks(bench, [check], logs)
    return "" if again.verdict == "pass" else f"without the fault: {again.reason}"


def _order(fault: Fault, whole: bool) -> Iterator[Check]:
    checks = all_checks()
    named = {check.name: check for pattern in fault.seen_by for check in select(checks, [pattern])}
    yield from named.values()
    if whole:
        yield from (check for check in checks if check.name not in named)


def _switch(bench: Bench, number: int) -> None:
    bench.run(f"modprobe -q ip_vs; echo {number} >{_FILE}")
