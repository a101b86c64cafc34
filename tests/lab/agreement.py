"""Whether runs of one scenario in both worlds say the same: each difference as a sentence."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from lvslab.runs import observation
from lvslab.runs.lateness import lateness, read_delays
from lvslab.runs.records import Trial
from lvslab.runs.rundir import Run

_CHANGE = re.compile(r"(?P<entry>.+?) (?P<what>added|removed|weight ).*")

History = Mapping[tuple[str, str], tuple[str, ...]]
"""Director and entry of its table → what became of it, in order. Between entries no order counts:
which of two checks comes first is chance.
"""


def disagreements(real: Run, virtual: Sequence[Run]) -> list[str]:
    """What the run in real time says otherwise than those of some seeds."""
    names = [sorted(trial.name for trial in run.trials) for run in (real, *virtual)]
    if any(own != names[0] for own in names):
        return [f"not the same trials: {names}"]
    return [*_verdicts(real, virtual), *_histories(real, virtual), *_outages(real, virtual)]


def _verdicts(real: Run, virtual: Sequence[Run]) -> Iterator[str]:
    """Those that a late machine left open say nothing."""
    for run in virtual:
        here, there = ({one.name: one.verdict for one in each.results} for each in (real, run))
        for name in dict.fromkeys((*here, *there)):
            if here.get(name) not in (there.get(name), "skip"):
                yield f"{name}: {here.get(name)} in real time, {there.get(name)} in {_seed(run)}"


def _histories(real: Run, virtual: Sequence[Run]) -> Iterator[str]:
    for trial in _judged(real):
        here = history(trial)
        if all(here != history(other) for other in _same(trial, virtual)):
            shown = [history(other) for other in _same(trial, virtual)]
            yield f"{trial.name}: history {here} in real time, {shown} in virtual time"


def history(trial: Trial) -> History:
    """What a trial's watches saw."""
    seen: dict[tuple[str, str], list[str]] = defaultdict(list)
    for mark in trial.marks:
        if mark.kind == "table" and (change := _CHANGE.fullmatch(mark.text)):
            seen[mark.node, change["entry"]].append(mark.text)
    return {key: tuple(texts) for key, texts in seen.items()}


def _outages(real: Run, virtual: Sequence[Run]) -> Iterator[str]:
    """Where a formula predicts the outage. The ends of its distribution are estimated from those of
    a few worlds, as for one that is even; they are widened by how late the machine was, and by the
    time between two attempts.
    """
    for trial in _judged(real):
        if trial.bound is None:
            continue
        here = observation.observed(real.probes, trial)
        there = [
            observation.observed(run.probes, other).outage_seconds
            for run in virtual
            for other in _same(trial, [run])
        ]
        known = [outage for outage in there if outage is not None]
        if here.outage_seconds is None or len(known) < len(there):
            if here.outage_seconds is not None or known:
                yield f"{trial.name}: outage {here.outage_seconds} in real time, {there} in virtual time"
            continue
        low, high = span(known)
        allowed = (
            _late(real, trial, here)
            + (trial.interval or 0)
            + max(other.interval or 0 for other in _same(trial, virtual))
        )
        if not low - allowed <= here.outage_seconds <= high + allowed:
            yield (
                f"{trial.name}: outage {here.outage_seconds:.3f} s in real time, {low:.3f} to {high:.3f} s in"
                f" virtual time, widened by {allowed:.3f} s"
            )


def span(outages: Sequence[float]) -> tuple[float, float]:
    """The ends of an even distribution of which these are some: the gap between neighbours beyond
    each end.
    """
    low, high = min(outages), max(outages)
    beyond = (high - low) / (len(outages) - 1)
    return max(0.0, low - beyond), high + beyond


def _late(run: Run, trial: Trial, seen: observation.Observation) -> float:
    """By how much the machine was late from before the fault, when the master's last advertisement
    may have been due, to the end of the outage.
    """
    if seen.fault is None or seen.stretch is None or seen.attempts is None:
        return 0.0
    delays = read_delays(run.probes / f"{trial.name}.lateness.csv")
    return lateness(delays, seen.attempts, seen.fault - 1.0, seen.stretch.end)


def _judged(run: Run) -> list[Trial]:
    """Without those that a late machine spoilt."""
    return [trial for trial in run.trials if trial.verdict != "skip"]


def _same(trial: Trial, runs: Sequence[Run]) -> list[Trial]:
    return [other for run in runs for other in run.trials if other.name == trial.name]


def _seed(run: Run) -> str:
    return f"the world of seed {run.parameters.get('seed')}"
