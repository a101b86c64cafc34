"""The numbers of a run as series that two runs can be compared by: one value a repetition, and
which direction is worse.

Thousands of requests of one repetition share its minute, its kernel and its memory: they are not
independent, so a repetition counts as one value, its median or its 99th percentile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lvslab.errors import UsageError
from lvslab.runs import costs
from lvslab.runs.observation import observed
from lvslab.runs.records import Sample, Trial
from lvslab.runs.rundir import Run
from lvslab.runs.stats import median, percentile

Worse = Literal["more", "less", ""]
"""Which direction is worse; "": neither, a change is only a change."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is known of a metric: its name for people, and which direction is worse."""

    title: str
    worse: Worse


METRICS: Mapping[str, Metric] = {
    "throughput": Metric("throughput", "less"),
    "requests_per_second": Metric("requests per second", "less"),
    "connections_per_second": Metric("connections per second", "less"),
    "retransmits": Metric("retransmitted segments", "more"),
    "latency": Metric("latency", "more"),
    "director_cpu": Metric("director CPU time", "more"),
    "answers": Metric("answers", ""),
    "download": Metric("download", "less"),
    "loaded_latency_p50": Metric("latency at a fixed rate, p50", "more"),
    "loaded_latency_p99": Metric("latency at a fixed rate, p99", "more"),
}
"""The metrics of samples.jsonl (docs/run-directory.md). Of others the worse direction is
not known.
"""

BENCH = "bench"
"""Kind of the runs whose figures are instructions in virtual time: they do not depend on the
machine's load.
"""

_PERCENTILES = (50, 99)


@dataclass(frozen=True, slots=True)
class Series:
    """One quantity of a run.

    Attributes:
        values: one a repetition, in `unit`; only those that were measured.
        failed: what each failed measurement said.
        resolution: differences smaller than this are the measurement's own.
        virtual: measured in virtual time.
        seeds: of virtual time: seed → value.
        evidence: files that hold the raw records.
    """

    key: str
    unit: str
    worse: Worse
    values: tuple[float, ...]
    failed: tuple[str, ...] = ()
    resolution: float = 0.0
    virtual: bool = False
    seeds: Mapping[str, float] = field(default_factory=dict)
    evidence: tuple[str, ...] = ()

    @property
    def tries(self) -> int:
        """Measurements, with those that failed."""
        return len(self.values) + len(self.failed)


def all_series(run: Run) -> tuple[tuple[Series, ...], tuple[str, ...]]:
    """Every series of a run, and sentences about what could not be read."""
    if run.kind == BENCH:
        return _bench(run), ()
    trials, problems = _trials(run)
    return (*_samples(run), *trials), problems


# -- samples.jsonl ---------------------------------------------------------------------------------


def _samples(run: Run) -> list[Series]:
    grouped: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in run.samples:
        grouped.setdefault((sample.lab, sample.metric, _labels(sample)), []).append(sample)
    found = []
    for (lab, name, labels), samples in grouped.items():
        metric = METRICS.get(name, Metric(name.replace("_", " "), ""))
        key = f"{lab}: {metric.title}{labels}" if lab else f"{metric.title}{labels}"
        failed = tuple(sample.error for sample in samples if sample.error)
        if any(sample.values is not None for sample in samples):
            for percent in _PERCENTILES:
                values = [
                    percentile(sample.values, percent) for sample in samples if sample.values is not None
                ]
                found.append(_series(run, f"{key}, p{percent}", samples, metric, values, failed))
        else:
            found.append(_series(run, key, samples, metric, [sample.value for sample in samples], failed))
    return [series for series in found if series.tries]


def _labels(sample: Sample) -> str:
    """The labels of a sample in words; a director's CPU time is named by the work that it was
    divided by.
    """
    per = sample.labels.get("per")
    if sample.metric == "director_cpu" and per:
        return f" per {per}"
    return "".join(f", {value}" for _, value in sorted(sample.labels.items()))


def _series(
    run: Run,
    key: str,
    samples: Sequence[Sample],
    metric: Metric,
    values: Iterable[float | None],
    failed: tuple[str, ...],
) -> Series:
    there = tuple(value for value in values if value is not None)
    return Series(key, _unit(samples), metric.worse, there, failed, evidence=_samples_file(run))


def _unit(samples: Sequence[Sample]) -> str:
    return next((sample.unit for sample in samples if sample.unit), "")


def _samples_file(run: Run) -> tuple[str, ...]:
    return (str(run.path / "samples.jsonl"),)


# -- trials ----------------------------------------------------------------------------------------


def _trials(run: Run) -> tuple[list[Series], tuple[str, ...]]:
    """Outages, detections, failed attempts, response times and lost connections: one value
    a trial.
    """
    modes = {trial.mode for trial in run.trials}
    problems: list[str] = []
    values: dict[tuple[str, str, str], list[float]] = {}
    files: dict[str, list[str]] = {}
    intervals: dict[str, float] = {}
    for trial in run.trials:
        name = (
            f"{trial.variant or trial.lab} ({trial.mode})" if len(modes) > 1 else trial.variant or trial.lab
        )
        intervals[name] = max(intervals.get(name, 0.0), trial.interval or 0.0)
        if trial.end is None:
            problems.append(f"{run.path}: trial '{trial.name}' was cut short; its numbers are left out")
            continue
        for title, unit, value in _figures(run, trial, problems):
            values.setdefault((name, title, unit), []).append(value)
        files.setdefault(name, []).extend(_files(run, trial))
    found = [
        Series(
            f"{name}: {title}",
            unit,
            "more",
            tuple(measured),
            resolution=intervals[name] if title == "outage" else 0.0,
            evidence=tuple(files[name]),
        )
        for (name, title, unit), measured in values.items()
    ]
    return found, tuple(problems)


def _files(run: Run, trial: Trial) -> list[str]:
    names = [f"probes/{trial.name}.{kind}.csv" for kind in ("attempts", "beats")]
    return [str(run.path / name) for name in names if (run.path / name).is_file()]


def _figures(run: Run, trial: Trial, problems: list[str]) -> list[tuple[str, str, float]]:
    """The figures of one trial: title, unit and value. An outage that did not end counts with the
    length that was seen; one that is not known is no figure but a problem.
    """
    seen = observed(run.probes, trial)
    problems += [f"{run.path}: trial '{trial.name}': {problem}" for problem in seen.problems]
    figures: list[tuple[str, str, float]] = []
    if seen.attempts:
        if seen.fault is not None and seen.outage_seconds is not None:
            figures.append(("outage", "s", seen.outage_seconds))
        figures.append(("failed attempts", "1", seen.failed / len(seen.attempts)))
        waits = [
            attempt.first_byte - attempt.start
            for attempt in seen.attempts
            if not attempt.failed and attempt.first_byte is not None
        ]
        middle = median(waits)
        if middle is not None:
            figures.append(("response time, p50", "s", middle))
    if seen.detection is not None:
        figures.append(("detection", "s", seen.detection))
    if seen.survival is not None:
        figures.append(("connections lost", "1", 1 - seen.survival.survived / seen.survival.total))
    return figures


# -- virtual time ----------------------------------------------------------------------------------


def _bench(run: Run) -> tuple[Series, ...]:
    """Instructions per packet by figure, with their seeds; of a run with several kernels the kernel
    is part of the name.
    """
    several = len(costs.kernels(run)) > 1
    return tuple(
        Series(
            f"{name} ({kernel})" if several else name,
            costs.UNIT,
            "more",
            () if cost.error else tuple(cost.seeds.values()),
            (cost.error,) if cost.error else (),
            virtual=True,
            seeds={} if cost.error else {str(seed): value for seed, value in cost.seeds.items()},
            evidence=_samples_file(run),
        )
        for name, row in costs.costs(run).items()
        for kernel, cost in row.items()
    )


def pooled(several: Sequence[Series]) -> Series:
    """The same series of several runs of the same thing as one with more repetitions.

    Raises:
        UsageError: their units differ.
    """
    first = several[0]
    if len(several) == 1:
        return first
    if {each.unit for each in several} != {first.unit}:
        raise UsageError(
            f"'{first.key}' has several units: {', '.join(sorted({each.unit for each in several}))}"
        )
    seeds = {
        f"{number}/{seed}": value
        for number, each in enumerate(several, start=1)
        for seed, value in each.seeds.items()
    }
    return Series(
        first.key,
        first.unit,
        first.worse,
        tuple(value for each in several for value in each.values),
        tuple(problem for each in several for problem in each.failed),
        max(each.resolution for each in several),
        first.virtual,
        seeds,
        tuple(file for each in several for file in each.evidence),
    )
