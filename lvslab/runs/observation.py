"""What a trial says, read in one place: its fault, its outage, its detection, what became of its
connections.

Reports put it into words (`report/failover/trials.py`) and comparisons into numbers. What cannot
be known (no file, no fault, no attempt after it, cut short before anything failed) is None with a
reason in words, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lvslab.errors import LvslabError
from lvslab.runs import outage as compute
from lvslab.runs import probes
from lvslab.runs.outage import Attempt, Beat, Stretch, Survival
from lvslab.runs.records import Trial

_Line = TypeVar("_Line", Attempt, Beat)


@dataclass(frozen=True)
class Observation:
    """One trial with its probes.

    Attributes:
        attempts, beats: None where there is no file.
        problems: sentences about what is missing.
        fault: seconds since the epoch of the first fault; None where none was recorded.
        stretch: the outage; None where none was seen, or where it is not known.
        unknown: why the outage is not known; "" when it is.
        survival: what became of the lasting connections; None where there were none.
        later: failures after the service had been whole again: a second fault, the repair.
    """

    trial: Trial
    attempts: tuple[Attempt, ...] | None
    beats: tuple[Beat, ...] | None
    problems: tuple[str, ...]
    fault: float | None
    stretch: Stretch | None
    unknown: str
    survival: Survival | None
    later: tuple[Stretch, ...] = ()

    @property
    def outage_seconds(self) -> float | None:
        """The length of the outage as far as it was seen, 0 where no attempt failed; None when it
        is not known (see `unknown`).
        """
        if self.unknown:
            return None
        return self.stretch.seconds if self.stretch else 0.0

    @property
    def detection(self) -> float | None:
        """Seconds from the fault to the first change of the director's table or VRRP state."""
        return None if self.fault is None else compute.detection(self.trial.marks, self.fault)

    @property
    def failed(self) -> int:
        """How many attempts failed in the whole trial."""
        return sum(attempt.failed for attempt in self.attempts or ())


def observed(folder: Path, trial: Trial) -> Observation:
    """Read a trial's probes and say what they show.

    Args:
        folder: of the run's probes.
    """
    missing: list[str] = []
    attempts = _read(folder, trial, "attempts", trial.interval, probes.read_attempts, missing)
    beats = _read(folder, trial, "beats", trial.heartbeat, probes.read_beats, missing)
    fault = next((mark.t for mark in trial.marks if mark.kind == "fault"), None)
    stretch, unknown = None, ""
    if attempts is not None and fault is None:
        calm = trial.end is not None and attempts and not any(attempt.failed for attempt in attempts)
        unknown = "" if calm else "no fault was recorded"
    else:
        stretch, unknown = outage_since(fault or 0, trial, attempts)
    if trial.end is None:
        missing.append(
            "it has no end: it was cut short or is still running, and what follows its last attempt is not"
            " known."
        )
    if unknown and attempts is not None:
        missing.append(f"its outage is not known: {unknown}.")
    survival = compute.survival(beats, fault) if beats and fault is not None else None
    return Observation(
        trial=trial,
        attempts=attempts,
        beats=beats,
        problems=tuple(missing),
        fault=fault,
        stretch=stretch,
        unknown=unknown,
        survival=survival if survival and survival.total else None,
        later=_later(attempts or (), trial.interval or 0, stretch),
    )


def outage_since(
    since: float, trial: Trial, attempts: Sequence[Attempt] | None
) -> tuple[Stretch | None, str]:
    """The outage of a trial from a fault at `since` on, None where no attempt failed; and why it is
    not known, "" when it is.

    Args:
        since: seconds since the epoch.
        attempts: None where there is no file.
    """
    if attempts is None:
        return None, "attempts were not made" if trial.interval is None else "the attempts are not there"
    if not any(attempt.planned >= since for attempt in attempts):
        return None, "no attempt was made after the fault"
    stretch = compute.outage(attempts, trial.interval or 0, since)
    if stretch is None and trial.end is None:
        return None, "the trial was cut short before any attempt failed"
    return stretch, ""


def _later(attempts: Sequence[Attempt], interval: float, first: Stretch | None) -> tuple[Stretch, ...]:
    if first is None or not first.ended:
        return ()
    return compute.stretches([attempt for attempt in attempts if attempt.planned >= first.end], interval)


def _read(
    folder: Path,
    trial: Trial,
    kind: str,
    planned: float | None,
    read: Callable[[Path, list[str]], tuple[_Line, ...]],
    missing: list[str],
) -> tuple[_Line, ...] | None:
    """The lines of one of the trial's files; None, and a sentence in `missing`, when it should be
    there and cannot be read.
    """
    file = folder / f"{trial.name}.{kind}.csv"
    if planned is None and not file.is_file():
        return None
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        missing.append(f"probes/{file.name} is not there.")
        return None
    warnings: list[str] = []
    try:
        lines = read(file, warnings)
    except LvslabError as error:
        missing.append(f"probes/{file.name} cannot be used: {str(error).replace(str(file), file.name)}.")
        return None
    missing.extend(f"probes/{warning}." for warning in warnings)
    if (
        planned is None and not lines
    ):  # the prober writes both files, also the one for which there was nothing to do
        return None
    if not lines and not warnings:
        missing.append(f"probes/{file.name} holds not one line.")
    return lines
