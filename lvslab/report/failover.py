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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lvslab.report import style
from lvslab.report.units import MISSING, THIN_SPACE, percent, quantity
from lvslab.runs import outage as compute
from lvslab.runs.outage import Survival
from lvslab.runs.records import Lab, Mark, Trial
from lvslab.runs.rundir import Run
from lvslab.runs.stats import percentile, present
from lvslab.runs.trials import Observation, observed

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
        return _late(self.trials)

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
        """fail when one repeat failed, pass when one passed and none failed, None when nobody
        judged.
        """
        verdicts = {trial.trial.verdict for trial in self.trials}
        return "fail" if "fail" in verdicts else "pass" if "pass" in verdicts else None

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
    return tuple(
        Group(variant, mode, _label(variant, mode, len(variants), len(modes)), tuple(trials))
        for (variant, mode), trials in grouped.items()
    )


def everything(groups: Iterable[Group]) -> tuple[Observed, ...]:
    """The trials of all groups."""
    return tuple(trial for group in groups for trial in group.trials)


def summary(groups: Sequence[Group]) -> list[str]:
    """What a reader must know to believe the numbers: sentences with resolution, start errors,
    repeats and what is missing.
    """
    trials = everything(groups)
    sentences = [_repeats_sentence(groups)]
    intervals = sorted(
        {t.trial.interval for t in trials if t.trial.interval is not None and t.attempts is not None}
    )
    if intervals:
        every = " or ".join(
            dict.fromkeys(seconds_text(value, 0.001) for value in (intervals[0], intervals[-1]))
        )
        sentences.append(
            f"Attempts were planned every {every}, whether or not earlier ones had ended: that interval is"
            " the resolution of every outage here. An outage is counted from the planned start of the first"
            " failed attempt to that of the first attempt after the last failed one; a shorter one may have"
            " been missed."
        )
        sentences.append(_late_sentence(trials))
    early = sum(trial.failed_early for trial in trials)
    if early:
        sentences.append(f"{attempts_text(early)} failed before the fault: the service was already failing.")
    local = sum(trial.outcomes["local"] for trial in trials)
    if local:
        sentences.append(
            f"{attempts_text(local)} failed in the client itself (no port or no memory): the service never"
            " saw them."
        )
    if trials and all(t.attempts is not None and not t.unknown and not t.failed for t in trials):
        sentences.append("No attempt failed.")
    again = [trial for trial in trials if trial.later]
    if again:
        number = sum(stretch.failed for trial in again for stretch in trial.later)
        where = "1 trial" if len(again) == 1 else f"{len(again)} trials"
        sentences.append(
            f"In {where} {attempts_text(number)} failed later, after the service had been whole again (a"
            " second fault, a repair): the outage is the first such time only."
        )
    endless = sum(not trial.length.ended for trial in trials if trial.length)
    if endless:
        what = "1 outage had" if endless == 1 else f"{endless} outages had"
        sentences.append(
            f"{what} not ended when the probing did: the length is a lower bound, written with ≥."
        )
    above = sum(trial.exceeded for trial in trials)
    bounded = sum(trial.trial.bound is not None and trial.length is not None for trial in trials)
    if bounded:
        sentences.append(
            f"{above or 'None'} of {bounded} outages with a prediction exceeded it by more than the"
            " resolution."
        )
    return [sentence for sentence in sentences if sentence]


def problems(groups: Sequence[Group]) -> list[str]:
    """What is missing, one sentence a trial and cause."""
    return [f"{trial.trial.name}: {problem}" for trial in everything(groups) for problem in trial.problems]


def _repeats_sentence(groups: Sequence[Group]) -> str:
    numbers = sorted({len(group.trials) for group in groups})
    if not numbers:
        return ""
    each = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    plural = "repeat" if numbers == [1] else "repeats"
    variants, modes = {group.variant for group in groups}, {group.mode for group in groups}
    what = "1 variant" if len(variants) == 1 else f"{len(variants)} variants"
    what += f" in {len(modes)} modes" if len(modes) > 1 else ""
    few = " One repeat says what can happen, not what usually happens." if numbers[0] == 1 else ""
    return f"{what}, {each} {plural}{' each' if len(groups) > 1 else ''}.{few}"


def _late(trials: Iterable[Observed]) -> float | None:
    errors = [error for trial in trials for error in compute.start_errors(trial.attempts or ())]
    return percentile(errors, 99) if len(errors) >= MIN_ERRORS else None


def _late_sentence(trials: Sequence[Observed]) -> str:
    errors = [error for trial in trials for error in compute.start_errors(trial.attempts or ())]
    if not errors:
        return ""
    late = _late(trials)
    if late is None:
        return f"The latest attempt began {quantity(max(errors), 's')} after its planned time."
    return (
        f"99 of 100 attempts began within {quantity(late, 's')} of their planned time, the latest"
        f" {quantity(max(errors), 's')} after it."
    )


# --- one trial ------------------------------------------------------------------------------------


def _label(variant: str, mode: str, variants: int, modes: int) -> str:
    if variants > 1 and modes > 1:
        return f"{variant or 'plain'} · {style.mode_title(mode)}"
    return (
        (variant or "plain")
        if variants > 1 or (modes == 1 and variant)
        else style.mode_title(mode) or "trial"
    )


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


# --- words ----------------------------------------------------------------------------------------


def seconds_text(seconds: float, interval: float | None) -> str:
    """A time no more exactly than it was measured: "1.52 s" and "20 ms" with attempts
    every 10 ms.
    """
    fine = interval if interval and interval > 0 else 0.001
    digits = max(0, math.ceil(-math.log10(fine) - 1e-9))
    if abs(seconds) >= 1:
        return f"{seconds:,.{min(digits, 3)}f} s".replace(",", THIN_SPACE)
    return f"{seconds * 1e3:.{max(0, min(digits - 3, 3))}f} ms"


def count(number: int) -> str:
    """A count with its thousands set apart."""
    return f"{number:,}".replace(",", THIN_SPACE)


def attempts_text(number: int) -> str:
    """So many attempts, in words."""
    return "1 attempt" if number == 1 else f"{count(number)} attempts"


def share(part: int, whole: int) -> str:
    """A share in per cent that never hides a failure behind "0.0 %" nor a success behind
    "100.0 %".
    """
    if not whole:
        return MISSING
    if not part:
        return "0 %"
    text = percent(part / whole)
    if part and text == "0.0 %":
        return "< 0.1 %"
    return "> 99.9 %" if part < whole and text == "100.0 %" else text


def outcomes_text(outcomes: Mapping[str, int]) -> str:
    """The failures by kind, most frequent first: "timeout 120, reset 3"."""
    failed = [(name, number) for name, number in outcomes.items() if name != "ok" and number]
    return ", ".join(
        f"{name} {count(number)}" for name, number in sorted(failed, key=lambda item: (-item[1], item[0]))
    )
