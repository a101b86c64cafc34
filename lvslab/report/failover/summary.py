"""What a reader must know to believe the numbers of the trials, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvslab.report.failover.trials import Group, Observed, everything, late_start
from lvslab.report.units import count, quantity, seconds_text
from lvslab.runs import outage as compute
from lvslab.runs.words import plural


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
        sentences.append(
            f"In {plural(len(again), 'trial')} {attempts_text(number)} failed later, after the service had"
            " been whole again (a second fault, a repair): the outage is the first such time only."
        )
    endless = sum(not trial.length.ended for trial in trials if trial.length)
    if endless:
        sentences.append(
            f"{plural(endless, 'outage')} had not ended when the probing did: the length is a lower bound,"
            " written with ≥."
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
    variants, modes = {group.variant for group in groups}, {group.mode for group in groups}
    what = plural(len(variants), "variant")
    what += f" in {len(modes)} modes" if len(modes) > 1 else ""
    few = " One repeat says what can happen, not what usually happens." if numbers[0] == 1 else ""
    repeats = f"{each} {'repeat' if numbers == [1] else 'repeats'}{' each' if len(groups) > 1 else ''}"
    return f"{what}, {repeats}.{few}"


def _late_sentence(trials: Sequence[Observed]) -> str:
    errors = [error for trial in trials for error in compute.start_errors(trial.attempts or ())]
    if not errors:
        return ""
    late = late_start(trials)
    if late is None:
        return f"The latest attempt began {quantity(max(errors), 's')} after its planned time."
    return (
        f"99 of 100 attempts began within {quantity(late, 's')} of their planned time, the latest"
        f" {quantity(max(errors), 's')} after it."
    )


def attempts_text(number: int) -> str:
    """So many attempts, in words."""
    return "1 attempt" if number == 1 else f"{count(number)} attempts"


def outcomes_text(outcomes: Mapping[str, int]) -> str:
    """The failures by kind, most frequent first: "timeout 120, reset 3"."""
    failed = [(name, number) for name, number in outcomes.items() if name != "ok" and number]
    return ", ".join(
        f"{name} {count(number)}" for name, number in sorted(failed, key=lambda item: (-item[1], item[0]))
    )
