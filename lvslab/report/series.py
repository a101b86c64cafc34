"""The measurements of a run as comparable series: one number a repeat, for every lab.

A lab is what is compared. Where each lab has a mode of its own it goes by the mode's name; where
two labs run the same mode (two kernels, say) the lab's name tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvslab.report.looks import Look, looks_of
from lvslab.runs.records import Sample
from lvslab.runs.rundir import Run
from lvslab.runs.stats import Summary, percentile, summarize


@dataclass(frozen=True, slots=True)
class Subject:
    """A lab as a row of a chart or a column of a table."""

    lab: str
    mode: str
    label: str
    look: Look


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: for every lab the numbers of its repeats (None where one failed), in `unit`.

    `better` is "more", "less" or "" and `errors` holds what the failed measurements of a lab said.
    """

    key: str
    title: str
    unit: str
    better: str
    meaning: str
    values: Mapping[str, tuple[float | None, ...]]
    errors: Mapping[str, str]

    def summary(self, lab: str) -> Summary:
        """The summary of one lab's repeats."""
        return summarize(self.values.get(lab, ()))

    @property
    def largest(self) -> float | None:
        """The largest number of all labs: what the scale of an axis is chosen by."""
        return max(
            (value for values in self.values.values() for value in values if value is not None), default=None
        )

    def missing(self, lab: str) -> str:
        """Why a lab has no number here."""
        return self.errors.get(lab) or (
            "not measured" if not self.values.get(lab) else "every measurement failed"
        )


_METRICS = {  # metric → (title, better, meaning)
    "throughput": ("Throughput", "more", "iperf3, one TCP stream through the virtual service"),
    "requests_per_second": ("Requests per second", "more", "wrk over keep-alive connections"),
    "connections_per_second": ("Connections per second", "more", "wrk, a new connection per request"),
    "retransmits": ("Retransmitted segments", "less", "by the iperf3 sender in one throughput measurement"),
    "download": ("Download", "more", "one large HTTP answer through the virtual service"),
    "loaded_latency_p50": (
        "Latency at a fixed rate, p50",
        "less",
        "planned start to first byte, each on a new connection",
    ),
    "loaded_latency_p99": (
        "Latency at a fixed rate, p99",
        "less",
        "planned start to first byte, each on a new connection",
    ),
    "director_busy_loaded_latency": ("Director busy at the fixed rate", "less", "of one processor"),
    "director_busy_connections_per_second": (
        "Director busy with new connections",
        "",
        "of one processor",
    ),
    "director_busy_requests_per_second": (
        "Director busy with keep-alive connections",
        "",
        "of one processor",
    ),
    "director_busy_download": ("Director busy with the download", "", "of one processor"),
    "system_call_director": (
        "A system call in the director",
        "less",
        "processor time; the same for all, or their kernels differ",
    ),
    "system_call_machine": ("A system call on the machine", "less", "processor time, on its own kernel"),
}
_UNITS = {"GB": "gigabyte"}
_APART = ("latency", "answers", "director_cpu", "director_calls")


def subjects(run: Run) -> tuple[Subject, ...]:
    """The labs of the run in their order, also those that only samples mention."""
    labs = dict.fromkeys([(lab.name, lab.mode) for lab in run.labs] + [(s.lab, s.mode) for s in run.samples])
    unique: dict[str, str] = {}
    for name, mode in labs:
        unique.setdefault(name, mode)
    # in the network of a mode a proxy may have been measured
    unique |= {s.lab: s.mode for s in run.samples}
    modes, looks = list(unique.values()), looks_of(run)
    found = []
    for name, mode in unique.items():
        look = looks.of(mode)
        label = look.title if modes.count(mode) == 1 else f"{look.title} · {name}"
        found.append(Subject(name, mode, label, look))
    return tuple(found)


def all_series(run: Run) -> tuple[Series, ...]:
    """Every series the samples hold, the most asked for first; metrics of a later version come
    last, under their own names.
    """
    found = [_plain(run, metric, *about) for metric, about in _METRICS.items()]
    found[3:3] = [_latency(run, 50), _latency(run, 99)]
    found += [
        *_director(run, "director_cpu", "Director CPU time"),
        *_director(run, "director_calls", "Director system calls"),
    ]
    known = {*_METRICS, *_APART}
    for metric in dict.fromkeys(s.metric for s in run.samples if s.metric not in known):
        found.append(_plain(run, metric, metric.replace("_", " ").capitalize(), "", ""))
    return tuple(series for series in found if series.values)


def _plain(run: Run, metric: str, title: str, better: str, meaning: str) -> Series:
    return _series(metric, title, better, meaning, [(s, s.value) for s in run.of(metric)])


def _latency(run: Run, percent: int) -> Series:
    """A percentile of each repeat's latencies: the repeats are what varies, the requests inside one
    are not independent runs.
    """
    pairs = [(s, None if s.values is None else percentile(s.values, percent)) for s in run.of("latency")]
    series = _series(
        f"latency_p{percent}",
        f"Latency, p{percent}",
        "less",
        "one request at a time, each on a new connection",
        pairs,
    )
    short = {
        s.lab: f"{len(s.values)} requests are too few for p{percent}"
        for s, value in pairs
        if s.values and value is None
    }
    return Series(
        series.key, series.title, "s", "less", series.meaning, series.values, {**short, **series.errors}
    )


def _director(run: Run, metric: str, what: str) -> list[Series]:
    """A series for every kind of work that a figure of the director was divided by."""
    samples = run.of(metric)
    kinds = dict.fromkeys((s.labels.get("per", "unit"), s.labels.get("during", "")) for s in samples)
    found = []
    for per, during in kinds:
        pairs = [
            (s, s.value)
            for s in samples
            if (s.labels.get("per", "unit"), s.labels.get("during", "")) == (per, during)
        ]
        title = f"{what} per {_UNITS.get(per, per)}"
        measured = (
            f"while {_METRICS[during][0].lower() if during in _METRICS else during or 'the load'} was"
            " measured"
        )
        found.append(_series(f"{metric}_{per.lower()}_{during}".rstrip("_"), title, "less", measured, pairs))
    return found


def _series(
    key: str, title: str, better: str, meaning: str, pairs: Sequence[tuple[Sample, float | None]]
) -> Series:
    values: dict[str, tuple[float | None, ...]] = {}
    errors: dict[str, str] = {}
    for sample, value in pairs:
        values[sample.lab] = (*values.get(sample.lab, ()), value)
        if sample.error:
            errors[sample.lab] = sample.error
    unit = next((sample.unit for sample, _ in pairs if sample.unit), "")
    if key.startswith("director_busy"):  # recorded as a part of one
        unit = "share"
    return Series(key, title, unit, better, meaning, values, errors)
