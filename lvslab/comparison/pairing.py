"""Which runs of two places belong together: a run directory each, or folders of several that are
paired by what they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.comparison import likeness
from lvslab.errors import UsageError
from lvslab.runs.rundir import Run, load


@dataclass(frozen=True, slots=True)
class RunPair:
    """Runs that are compared with each other; several on a side are repetitions of the same thing.

    Attributes:
        subject: their name where there are several pairs, or "".
    """

    subject: str
    base: tuple[Run, ...]
    new: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Pairing:
    """All pairs, and the names of what only one side has."""

    pairs: tuple[RunPair, ...]
    only_base: tuple[str, ...]
    only_new: tuple[str, ...]


def runs_at(place: Path) -> list[Run]:
    """The run that a directory holds, or the runs right below it, oldest first.

    Raises:
        UsageError: there is none, or one cannot be read.
    """
    if (place / "run.json").is_file() or not place.is_dir():
        return [load(place)]
    below = sorted(file.parent for file in place.glob("*/run.json"))
    if not below:
        deeper = sorted({file.parent.parent.name for file in place.glob("*/*/run.json")})
        hint = f"; name one of the folders in it: {', '.join(deeper)}" if deeper else ""
        raise UsageError(f"{place}: neither a run directory nor a folder of runs{hint}")
    return [load(each) for each in below]


def pair(base: Path, new: Path) -> Pairing:
    """The runs of two places that belong together.

    Raises:
        UsageError: a place holds no run, or runs of the same thing on different kernels.
    """
    before, after = _grouped(runs_at(base), base), _grouped(runs_at(new), new)
    # the user has paired them; what differs is for the comparison to say
    if len(before) == len(after) == 1:
        (key,), (other,) = before, after
        return Pairing((RunPair("", before[key], after[other]),), (), ())
    both = [key for key in before if key in after]
    return Pairing(
        tuple(RunPair(_title(before[key][0], before), before[key], after[key]) for key in both),
        tuple(_title(before[key][0], before) for key in before if key not in after),
        tuple(_title(after[key][0], after) for key in after if key not in before),
    )


_Groups = dict[tuple[str, str, tuple[tuple[str, str], ...]], tuple[Run, ...]]


def _grouped(runs: Sequence[Run], place: Path) -> _Groups:
    """Runs by their configuration; those of one configuration must have the same under test."""
    found: _Groups = {}
    for run in runs:
        key = likeness.configuration(run)
        found[key] = (*found.get(key, ()), run)
    for same in found.values():
        tested = {tuple(likeness.under_test(run).items()): run for run in same if run.labs or run.samples}
        if len(tested) > 1:
            first, second = list(tested.values())[:2]
            raise UsageError(
                f"{place}: holds '{first.name}' of several kernels or settings ({first.path.name} and"
                f" {second.path.name}); name one run directory, or put each kernel's runs into a folder of"
                " its own"
            )
    return found


def _title(run: Run, groups: _Groups) -> str:
    """The shortest name that tells a group apart from the others: scenario, then its mode, then
    every parameter.
    """
    kind, name, parameters = likeness.configuration(run)
    title = name or kind
    same = [key for key in groups if key[:2] == (kind, name)]
    if len(same) == 1:
        return title
    values = dict(parameters)
    if "mode" in values and [dict(key[2]).get("mode") for key in same].count(values["mode"]) == 1:
        return f"{title} ({values['mode']})"
    return f"{title} ({' '.join(f'{key}={value}' for key, value in parameters)})"
