"""The suite as a run: checks carried out, results in the run directory as JSON, text, JUnit and TAP."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvslab.conformance import runner
from lvslab.conformance.check import Check
from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode
from lvslab.experiment import Experiment
from lvslab.measure import provenance
from lvslab.measure.rundir import RunWriter
from lvslab.plan import Kernels
from lvslab.report import formats


@dataclass(frozen=True)
class Suite:
    """A finished suite: its run directory and results."""

    run: Path
    results: tuple[dict[str, Any], ...]

    def count(self, verdict: str) -> int:
        """How many results have a verdict."""
        return sum(each["verdict"] == verdict for each in self.results)

    @property
    def code(self) -> ExitCode:
        """Failures count before skips; a suite of skips alone was not possible here."""
        if self.count("fail"):
            return ExitCode.FAILED
        return ExitCode.OK if self.count("pass") else ExitCode.CANNOT

    @property
    def headline(self) -> str:
        """The whole suite in one line."""
        seconds = sum(float(each.get("seconds", 0)) for each in self.results)
        return (
            f"{len(self.results)} checks in {seconds:.0f} s: {self.count('pass')} passed, {self.count('fail')} failed, "
            f"{self.count('skip')} skipped"
        )

    def by_subject(self) -> list[tuple[str, str, str, str, str]]:
        """One row a subject: its name, how many passed, failed, were skipped, and the seconds that took."""
        subjects = dict.fromkeys(str(each["name"]).partition(":")[0] for each in self.results)
        rows = []
        for subject in subjects:
            own = [each for each in self.results if str(each["name"]).partition(":")[0] == subject]
            counts = [str(sum(each["verdict"] == verdict for each in own)) for verdict in ("pass", "fail", "skip")]
            rows.append((subject, *counts, f"{sum(float(each.get('seconds', 0)) for each in own):.1f}"))
        return rows  # type: ignore[return-value]


def run_suite(
    checks: Sequence[Check],
    profile: str | None,
    kernels: Kernels,
    listener: Listener,
    runs: Path,
    director_kernels: Sequence[str],
    sysctls: Mapping[str, str],
) -> Suite:
    """Run checks, or a profile, into a new run directory; `sysctls` of the director are set before any check.

    Raises:
        LabError: the director broke; the results so far are in the run directory.
    """
    name = f"verify-{profile}" if profile else "verify-full"
    results: list[dict[str, Any]] = []
    with RunWriter(
        runs,
        name,
        kind="verify",
        command=["lvslab", *sys.argv[1:]],
        host=provenance.host(),
        tools=provenance.tools(),
        parameters=sysctls,
    ) as run:
        experiment = Experiment(run, kernels, listener, director_kernels, sysctls)
        try:
            if profile:
                from lvslab.conformance.selftest import run_selftest

                results += run_selftest(kernels, listener, run, director_kernels)
            else:
                _run_checks(checks, experiment, run, results)
        finally:
            _write(run.path, name, results)
    return Suite(run.path, tuple(results))


def _run_checks(checks: Sequence[Check], experiment: Experiment, run: RunWriter, results: list[dict[str, Any]]) -> None:
    began = time.monotonic()
    with runner.bench(experiment, ()) as bench:
        for number, outcome in enumerate(runner.run_checks(bench, checks, run.captures), start=1):
            result = outcome.result()
            results.append(result)
            run.add_result(result)
            left = (time.monotonic() - began) / number * (len(checks) - number)
            word = {"pass": "ok", "fail": "FAIL", "skip": "skipped"}[outcome.verdict]
            kind = "verdict" if outcome.verdict == "fail" else "check"
            text = f"[{number}/{len(checks)}] {outcome.check.name}: {word}" + (f": {outcome.reason}" if word != "ok" else "")
            experiment.tell(Event("", kind, f"{text} ({left:.0f} s left)"))


def _write(directory: Path, name: str, results: Sequence[dict[str, Any]]) -> None:
    lines = []
    for each in results:
        lines.append(f"{each['verdict'].upper():<4}  {each['name']}: {each['reason']}")
        lines += [f"          {line}" for line in each.get("detail", ())]
    (directory / "results.txt").write_text("\n".join(lines) + "\n")
    (directory / "junit.xml").write_text(formats.junit(name, results))
    (directory / "results.tap").write_text(formats.tap(results))
