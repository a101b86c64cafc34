"""The suite as a run: checks carried out, results in the run directory as JSON, text, JUnit, TAP
and KTAP.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvslab.conformance import runner, shards
from lvslab.conformance.check import Check
from lvslab.conformance.testbed import Bench, LabBench
from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode
from lvslab.host.provenance import host, tools
from lvslab.kernels.kinds import CHEAPEST
from lvslab.kernels.needs import Kernels
from lvslab.lab import consoles, provenance
from lvslab.lab.lab import Lab
from lvslab.lab.lateness import LatenessWatch
from lvslab.modes import mode_named
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from lvslab.report import formats
from lvslab.runs import lateness
from lvslab.runs.records import Result, Verdict
from lvslab.runs.words import plural
from lvslab.runs.writer import RunWriter

_SAVE_EVERY = 20
"""Results go to run.json in batches: it is written anew each time, which hundreds of results would
make slow.
"""

SELFTEST, TIMERS = "kernel-selftest", "timers"
PROFILES = (SELFTEST, TIMERS)
"""What `lvslab verify --profile` takes."""

OpenBench = Callable[[LabPlan, Path, int], AbstractContextManager[tuple[Bench, runner.Lateness]]]
"""Opens the bench of a shard, given its plan, a folder for logs and the shard's number; with it
comes what tells how late the machine was.
"""


@dataclass(frozen=True)
class Suite:
    """A finished suite: its run directory, its results, and how long it took."""

    run: Path
    results: tuple[Result, ...]
    seconds: float

    def count(self, verdict: Verdict) -> int:
        """How many results have a verdict."""
        return sum(result.verdict == verdict for result in self.results)

    @property
    def code(self) -> ExitCode:
        """Failures count before skips; a suite of skips alone was not possible here."""
        if self.count("fail"):
            return ExitCode.FAILED
        return ExitCode.OK if self.count("pass") else ExitCode.CANNOT

    @property
    def headline(self) -> str:
        """The whole suite in one line."""
        return (
            f"{plural(len(self.results), 'check')} in {self.seconds:.0f} s: {self.count('pass')} passed,"
            f" {self.count('fail')} failed, {self.count('skip')} skipped"
        )

    def by_subject(self) -> list[tuple[str, str, str, str, str]]:
        """One row a subject: its name, how many passed, failed, were skipped, and the seconds that
        took.
        """
        subjects: dict[str, list[Result]] = {}
        for result in self.results:
            subjects.setdefault(result.name.partition(":")[0], []).append(result)
        rows = []
        for subject, own in subjects.items():
            verdicts = [result.verdict for result in own]
            passed, failed, skipped = (str(verdicts.count(verdict)) for verdict in ("pass", "fail", "skip"))
            seconds = sum(result.seconds or 0 for result in own)
            rows.append((subject, passed, failed, skipped, f"{seconds:.1f}"))
        return rows


def run_suite(
    checks: Sequence[Check],
    profile: str | None,
    kernels: Kernels,
    listener: Listener,
    runs: Path,
    director_kernels: Sequence[str],
    sysctls: Mapping[str, str],
    selected: Mapping[str, Sequence[str]] | None = None,
) -> Suite:
    """Run checks, or a profile, into a new run directory; `sysctls` of the director are set before
    any check.

    Args:
        selected: the patterns and tags that the checks were chosen by, for the record.

    Raises:
        LabError: the director broke; the results so far are in the run directory.
    """
    name = f"verify-{profile}" if profile else "verify-full"
    results: list[Result] = []
    began = time.monotonic()
    with RunWriter(
        runs,
        name,
        kind="verify",
        command=["lvslab", *sys.argv[1:]],
        host=host(),
        tools=tools(),
        parameters={**{key: list(chosen) for key, chosen in (selected or {}).items() if chosen}, **sysctls},
    ) as run:
        try:
            if profile == SELFTEST:
                from lvslab.conformance.selftest import run_selftest

                results += run_selftest(kernels, listener, run, director_kernels)
            else:
                plan = _plan(kernels, director_kernels, sysctls)
                groups = shards.groups(checks, singly=profile == TIMERS)
                _run_checks(groups, plan, kernels, run, listener, results, _bench_of(profile))
        finally:
            order = {check.name: number for number, check in enumerate(checks)}
            results.sort(key=lambda result: order.get(result.name, 0))
            _write(run.path, name, results)
    return Suite(run.path, tuple(results), time.monotonic() - began)


def _plan(kernels: Kernels, director_kernels: Sequence[str], sysctls: Mapping[str, str]) -> LabPlan:
    """A lab whose director has what checks need, as far as its kernel goes."""
    wanted = tuple(director_kernels) or (CHEAPEST.kind,)
    facts = [kernels.facts[each] for each in wanted if each in kernels.facts]
    met = tuple(need for need in runner.NEEDED if all(need in each.met for each in facts))
    spec = LabSpec(
        mode_named("nat"), servers=1, name="conformance", kernels=wanted, sysctls=sysctls, more_needs=met
    )
    return make_plan(spec, kernels)


def _bench_of(profile: str | None) -> OpenBench:
    if profile == TIMERS:
        from lvslab.conformance.virtual import bench_in_virtual_time

        return bench_in_virtual_time
    return _bench_on_this_machine


@contextmanager
def _bench_on_this_machine(plan: LabPlan, logs: Path, number: int) -> Iterator[tuple[Bench, runner.Lateness]]:
    delays = logs / "lateness.csv"

    def late(since: float, until: float) -> float:
        return lateness.lateness(lateness.read_delays(delays), (), since, until)

    with Lab(plan, logs) as lab, LatenessWatch(lab, delays), LabBench(lab) as bench:
        yield bench, late


def _run_checks(
    groups: Sequence[Sequence[Check]],
    plan: LabPlan,
    kernels: Kernels,
    run: RunWriter,
    listener: Listener,
    results: list[Result],
    open_bench: OpenBench,
) -> None:
    number_of_checks = sum(map(len, groups))
    number_of_directors = min(shards.usual_number(), len(groups))
    run.add_lab(provenance.lab_record(plan, kernels.facts))

    def work(number: int, own: Iterable[Check], tell: shards.Tell) -> None:
        logs = run.logs / f"conformance-{number}"
        logs.mkdir()
        with open_bench(plan, logs, number) as (bench, late):
            tell("ready", bench.lab.start_seconds)
            for outcome in runner.run_checks(bench, own, run.captures, late):
                tell("result", outcome.result())

    count, directors = plural(number_of_checks, "check"), plural(number_of_directors, "director")
    listener(Event("conformance", "boot", f"{count} on {directors}"))
    began, unsaved = time.monotonic(), 0
    try:
        for word, value in shards.carry_out(groups, number_of_directors, work):
            if word != "result":
                continue
            results.append(value)
            unsaved += 1
            if unsaved >= _SAVE_EVERY:
                run.add_results(results[-unsaved:])
                unsaved = 0
            left = (time.monotonic() - began) / len(results) * (number_of_checks - len(results))
            said = {"pass": "ok", "fail": "FAIL", "skip": "skipped"}[value.verdict]
            text = f"[{len(results)}/{number_of_checks}] {value.name}: {said}" + (
                f": {value.reason}" if said != "ok" else ""
            )
            listener(Event("", "verdict" if said == "FAIL" else "check", f"{text} ({left:.0f} s left)"))
    finally:
        results += (complained := consoles.complaints(run.logs, run.path))
        run.add_results(results[len(results) - unsaved - len(complained) :])


def _write(directory: Path, name: str, results: Sequence[Result]) -> None:
    lines = []
    for each in results:
        lines.append(f"{each.verdict.upper():<4}  {each.name}: {each.reason}")
        lines += [f"          {line}" for line in each.detail or ()]
    (directory / "results.txt").write_text("\n".join(lines) + "\n")
    (directory / "junit.xml").write_text(formats.junit(name, results))
    (directory / "results.tap").write_text(formats.tap(results))
    (directory / "results.ktap").write_text(formats.ktap(results))
