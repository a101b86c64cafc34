"""What the trials of a run say: the outage, its detection, the failed attempts and the connections
that survived, per trial and group.

A group is one variant in one mode with all its repeats. What cannot be known (no file, no fault,
cut short before anything failed) is None with a reason in words, never zero; an outage that had not
ended when the probing did is a lower bound.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lvslab.report.looks import Look, looks_of
from lvslab.report.units import MISSING, count, quantity, seconds_text, share
from lvslab.runs import outage as compute
from lvslab.runs.observation import Observation, observed
from lvslab.runs.outage import Survival
from lvslab.runs.records import Lab, Mark, Trial
from lvslab.runs.rundir import Run
from lvslab.runs.stats import percentile, present

MIN_ERRORS = 100
"""Below so many attempts there is no 99th percentile of their start errors."""


@dataclass(frozen=True, slots=True)
class Length:
    """The length of an outage in seconds; `ended` False: it lasted at least so long. 0 seconds: no
    attempt failed.
    """

    seconds: float
    ended: bool = True

    def text(self, interval: float | None) -> str:
        """The length as exactly as the interval between attempts allows: "1.52 s", "≥ 20.30 s",
        "none".
        """
        if not self.seconds and self.ended:
            return "none"
        return ("" if self.ended else "≥ ") + seconds_text(self.seconds, interval)


@dataclass(frozen=True, slots=True)
class Observed(Observation):
    """One trial with its probes, in the words of a report."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Address of a real server → its name."""
    directors: int = 1

    @property
    def length(self) -> Length | None:
        """The outage; None when it is not known (see `unknown`)."""
        if self.unknown:
            return None
        return Length(self.stretch.seconds, self.stretch.ended) if self.stretch else Length(0.0)

    @property
    def length_text(self) -> str:
        """The outage in words."""
        return self.length.text(self.trial.interval) if self.length else MISSING

    @property
    def failed_early(self) -> int:
        """How many attempts were over and had failed before anything was broken."""
        if self.fault is None:
            return 0
        return sum(attempt.failed and attempt.end < self.fault for attempt in self.attempts or ())

    @property
    def outcomes(self) -> Counter[str]:
        """How many attempts ended in each way."""
        return Counter(attempt.outcome for attempt in self.attempts or ())

    @property
    def exceeded(self) -> bool:
        """Whether the outage is longer than predicted by more than the resolution of the
        measurement.
        """
        length, bound = self.length, self.trial.bound
        return bool(length and bound and length.seconds > bound.seconds + (self.trial.interval or 0))

    def since(self, t: float) -> float:
        """A time relative to the fault, or to the trial's start where no fault was recorded."""
        return t - (self.trial.start if self.fault is None else self.fault)

    def label(self, mark: Mark) -> str:
        """A mark in few words: real servers by name, the service left out, the director named where
        there are several.
        """
        text = mark.text
        if mark.kind == "table":
            head, colon, rest = text.partition(": ")
            text = rest if colon and head.split(" ")[0] in ("TCP", "UDP", "FWM", "SCTP") else text
            for address, name in self.names.items():
                text = re.sub(rf"(?<![\d.]){re.escape(address)}(?![\d.])", name, text)
            text = text.replace(" -> ", " → ")
        named = (
            mark.node
            and not text.startswith(mark.node)
            and (mark.kind == "vrrp" or (mark.kind in ("table", "control") and self.directors > 1))
        )
        if mark.kind in ("fault", "repair"):
            text = (
                f"{mark.kind}: {text}"
                if text and not text.lower().startswith(mark.kind)
                else text or mark.kind
            )
        return f"{mark.node}: {text}" if named else text or mark.kind


@dataclass(frozen=True, slots=True)
class Group:
    """One variant in one mode: all its repeats. `label` tells it apart from the run's
    other groups.
    """

    variant: str
    mode: str
    label: str
    look: Look
    trials: tuple[Observed, ...]

    @property
    def interval(self) -> float | None:
        """The interval between attempts: the largest of the repeats', the resolution of what is
        said of all of them.
        """
        return max((t.trial.interval for t in self.trials if t.trial.interval is not None), default=None)

    @property
    def lengths(self) -> tuple[Length, ...]:
        """The outages that are known, shortest first."""
        known = [trial.length for trial in self.trials if trial.length is not None]
        return tuple(sorted(known, key=lambda length: (length.seconds, not length.ended)))

    @property
    def median(self) -> Length | None:
        """The median outage; a lower bound where an outage that did not end may move it up."""
        lengths = self.lengths
        if not lengths:
            return None
        low, high = lengths[(len(lengths) - 1) // 2], lengths[len(lengths) // 2]
        middle = (low.seconds + high.seconds) / 2
        return Length(middle, all(length.ended or length.seconds > high.seconds for length in lengths))

    @property
    def median_text(self) -> str:
        """The median outage in words."""
        return self.median.text(self.interval) if self.median else MISSING

    @property
    def range_text(self) -> str:
        """From the shortest to the longest outage; "" for fewer than two."""
        lengths = self.lengths
        if len(lengths) < 2:
            return ""
        low, high = (
            lengths[0].text(self.interval),
            max(lengths, key=lambda length: (length.seconds, not length.ended)),
        )
        return "all the same" if low == high.text(self.interval) else f"{low} to {high.text(self.interval)}"

    @property
    def detections(self) -> tuple[float, ...]:
        """Seconds to detection of the repeats in which something noticed the fault,
        shortest first.
        """
        return tuple(present(trial.detection for trial in self.trials))

    @property
    def detection_text(self) -> str:
        """The median time to detection, and how many repeats have one when not all do."""
        found = self.detections
        watched = sum(trial.fault is not None for trial in self.trials)
        if not found:
            return "never" if watched else MISSING
        low, high = found[(len(found) - 1) // 2], found[len(found) // 2]
        part = "" if len(found) == watched else f" ({len(found)} of {watched})"
        return seconds_text((low + high) / 2, 0.001) + part

    @property
    def bound_text(self) -> str:
        """The predicted bound; a range where the repeats have several."""
        bounds = present(trial.trial.bound.seconds for trial in self.trials if trial.trial.bound)
        if not bounds:
            return MISSING
        texts = dict.fromkeys(quantity(bound, "s") for bound in (bounds[0], bounds[-1]))
        return f"≤ {' to '.join(texts)}"

    @property
    def formula(self) -> str:
        """The formula of the bound."""
        return "; ".join(
            dict.fromkeys(
                t.trial.bound.formula for t in self.trials if t.trial.bound and t.trial.bound.formula
            )
        )

    @property
    def measured(self) -> tuple[Observed, ...]:
        """The repeats whose attempts are known."""
        return tuple(trial for trial in self.trials if trial.attempts is not None)

    @property
    def attempts(self) -> int:
        """How many attempts there were in all repeats."""
        return sum(len(trial.attempts or ()) for trial in self.trials)

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(trial.failed for trial in self.trials)

    @property
    def failed_text(self) -> str:
        """Failed attempts: count and share."""
        return (
            f"{count(self.failed)} of {count(self.attempts)} ({share(self.failed, self.attempts)})"
            if self.attempts
            else MISSING
        )

    @property
    def outcomes(self) -> Counter[str]:
        """How many attempts of all repeats ended in each way."""
        total: Counter[str] = Counter()
        for trial in self.trials:
            total += trial.outcomes
        return total

    @property
    def start_error(self) -> float | None:
        """How late attempts began: 99 of 100 by at most so many seconds; None with too few
        attempts.
        """
        return late_start(self.trials)

    @property
    def survivals(self) -> tuple[Survival, ...]:
        """The fate of the long-lived connections, of the repeats that had some."""
        return tuple(trial.survival for trial in self.trials if trial.survival is not None)

    @property
    def survivors_text(self) -> str:
        """How many long-lived connections survived, over all repeats."""
        found = self.survivals
        return (
            f"{count(sum(s.survived for s in found))} of {count(sum(s.total for s in found))}"
            if found
            else MISSING
        )

    @property
    def verdict(self) -> str | None:
        """fail when one repeat failed, pass when one passed and none failed, skip when the machine
        was too late to judge any, None when nobody judged.
        """
        verdicts = {trial.trial.verdict for trial in self.trials}
        return next((verdict for verdict in ("fail", "pass", "skip") if verdict in verdicts), None)

    def typical(self) -> Observed:
        """The repeat that stands for all: the one with the median outage (the shorter of two middle
        ones), else the first.
        """
        known = [trial for trial in self.trials if trial.length is not None]
        if not known:
            return next(iter(self.measured), self.trials[0])
        ordered = sorted(known, key=_duration)
        return ordered[(len(ordered) - 1) // 2]


def observe(run: Run) -> tuple[Group, ...]:
    """The trials of a run with their probes, in groups, in the order in which they were begun."""
    labs = {lab.name: lab for lab in run.labs}
    grouped: dict[tuple[str, str], list[Observed]] = {}
    for trial in run.trials:
        grouped.setdefault((trial.variant, trial.mode), []).append(
            _observe(run.probes, trial, labs.get(trial.lab))
        )
    variants, modes = {variant for variant, _ in grouped}, {mode for _, mode in grouped}
    looks, found = looks_of(run), []
    for (variant, mode), trials in grouped.items():
        look = looks.of(mode)
        label = _label(variant, look.title, len(variants), len(modes))
        found.append(Group(variant, mode, label, look, tuple(trials)))
    return tuple(found)


def everything(groups: Iterable[Group]) -> tuple[Observed, ...]:
    """The trials of all groups."""
    return tuple(trial for group in groups for trial in group.trials)


def late_start(trials: Iterable[Observed]) -> float | None:
    """How late attempts began: 99 of 100 by at most so many seconds; None with too few attempts."""
    errors = [error for trial in trials for error in compute.start_errors(trial.attempts or ())]
    return percentile(errors, 99) if len(errors) >= MIN_ERRORS else None


def _label(variant: str, title: str, variants: int, modes: int) -> str:
    if variants > 1 and modes > 1:
        return f"{variant or 'plain'} · {title}"
    return (variant or "plain") if variants > 1 or (modes == 1 and variant) else title or "trial"


def _observe(folder: Path, trial: Trial, lab: Lab | None) -> Observed:
    seen = observed(folder, trial)
    nodes = lab.nodes if lab else ()
    directors = sum(node.role == "director" for node in nodes)
    return Observed(
        **vars(seen),
        names=_names(lab),
        directors=directors or len({m.node for m in trial.marks if m.kind in ("table", "vrrp")}),
    )


def _names(lab: Lab | None) -> dict[str, str]:
    """ "10.0.1.11:8080" is called rs1: addresses of the lab's real servers with the ports of its
    table, the longest first.
    """
    if lab is None:
        return {}
    ports = {word.rpartition(":")[2] for rule in lab.service_rules for word in rule.split() if ":" in word}
    names = {}
    for node in lab.nodes:
        for interface in node.interfaces if node.role == "real server" else ():
            for address in interface.addresses:
                bare = address.split("/")[0]
                names.update({f"{bare}:{port}": node.name for port in ports} | {bare: node.name})
    return dict(sorted(names.items(), key=lambda item: -len(item[0])))


def _duration(trial: Observed) -> tuple[float, bool]:
    return (trial.length.seconds, not trial.length.ended) if trial.length else (math.inf, True)
