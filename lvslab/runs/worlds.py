"""Many worlds of one scenario in virtual time: what each trial of each showed, the tables of it,
and what they say together.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lvslab.runs.outage import Survival
from lvslab.runs.rundir import Run
from lvslab.runs.stats import median

TRIALS, CONNECTIONS = "seeds.csv", "connections.csv"
"""In the folder of all worlds: a line for each trial, and one for each lasting connection."""


@dataclass(frozen=True)
class Lasting:
    """A lasting connection that stood when the fault struck.

    Attributes:
        number: within its trial.
        age: at the fault, in seconds.
        outcome: "ok" where it lived on, otherwise how it ended.
    """

    number: int
    age: float
    outcome: str


@dataclass(frozen=True)
class SeedTrial:
    """One trial of one world.

    Attributes:
        code: exit code of the world's run; `error`: why it has no verdict, or "".
        sha256: of all frames of the world and their times.
        variant: of the trial; "" where the run came to none.
        outage, detection: seconds; None where not known.
        phase: seconds from the master's last advertisement to the fault; None where not known.
        bound: the longest outage that a formula predicts, in seconds; None where there is none.
        connections: the lasting ones, by number.
        run: the run directory, below the folder of all worlds.
    """

    seed: int
    code: int
    sha256: str
    variant: str = ""
    outage: float | None = None
    detection: float | None = None
    phase: float | None = None
    bound: float | None = None
    connections: tuple[Lasting, ...] = ()
    run: str = ""
    error: str = ""

    @property
    def survived(self) -> int:
        """How many lasting connections lived on."""
        return sum(connection.outcome == "ok" for connection in self.connections)


def lasting(survival: Survival | None) -> tuple[Lasting, ...]:
    """What became of the connections of a trial, by number."""
    if survival is None:
        return ()
    kept = [Lasting(number, age, "ok") for number, age in survival.kept]
    lost = [Lasting(number, age, outcome) for number, age, outcome in survival.lost]
    return tuple(sorted([*kept, *lost], key=lambda connection: connection.number))


def phase_of_advert(run: Run, lab: str, fault: float) -> float | None:
    """Seconds from a pair's last VRRP advertisement to a fault: a master sends the first one when
    it becomes one, and then one every `advert` seconds (RFC 5798, 6.4.3). None where the scenario
    has no such parameter, or no master is known.
    """
    advert = run.parameters.get("advert")
    if not isinstance(advert, (int, float)):
        return None
    began = [
        event.t
        for event in run.events
        if event.lab == lab
        and event.event == "vrrp"
        and event.detail.endswith("outer addresses MASTER")
        and event.t is not None
        and event.t <= fault
    ]
    return (fault - max(began)) % advert if began else None


def write_tables(folder: Path, trials: Sequence[SeedTrial]) -> None:
    """Write both tables, by seed; the same worlds give the same files, wherever they ran.

    Raises:
        OSError: a file cannot be written.
    """
    ordered = sorted(trials, key=lambda trial: trial.seed)
    names = [field.name for field in fields(SeedTrial) if field.name not in ("connections", "run", "error")]
    seconds = ("outage", "detection", "phase", "bound")
    with (folder / TRIALS).open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow([*names, "survived", "connections", "error"])
        for trial in ordered:
            own = {**asdict(trial), **{name: _nanoseconds(getattr(trial, name)) for name in seconds}}
            counts = [trial.survived, len(trial.connections)]
            rows.writerow([*(own[name] for name in names), *counts, trial.error])
    with (folder / CONNECTIONS).open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["seed", "variant", "number", "age", "outcome"])
        for trial in ordered:
            for one in trial.connections:
                rows.writerow([trial.seed, trial.variant, one.number, _nanoseconds(one.age), one.outcome])


def _nanoseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.9f}"


def by_variant(trials: Sequence[SeedTrial]) -> Mapping[str, list[SeedTrial]]:
    """The trials of each variant, by their seeds."""
    variants: dict[str, list[SeedTrial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.seed):
        variants.setdefault(trial.variant, []).append(trial)
    return variants


def worst(trials: Sequence[SeedTrial]) -> SeedTrial:
    """The trial to look at first: without a verdict, failed, then the longest outage."""
    return max(trials, key=lambda trial: (trial.code != 0, trial.outage or 0.0, -trial.seed))


def distribution(trials: Sequence[SeedTrial], width: int = 40, bins: int = 10) -> list[str]:
    """The outages of one variant in words and as a histogram of text."""
    outages = [trial.outage for trial in trials if trial.outage is not None]
    if not outages:
        return ["no outage is known"]
    low, high = min(outages), max(outages)
    middle = median(outages)
    lines = [f"outage {low:.6f} … {high:.6f} s, median {middle:.6f} s, of {len(outages)} worlds"]
    step = (high - low) / bins
    counts = [0] * bins
    for outage in outages:
        counts[min(bins - 1, int((outage - low) / step)) if step else 0] += 1
    for place, count in enumerate(counts if step else counts[:1]):
        bar = "█" * round(width * count / max(counts))
        lines.append(f"  {low + place * step:8.3f} s  {bar} {count}".rstrip())
    standing = sum(len(trial.connections) for trial in trials)
    if standing:
        kept = sum(trial.survived for trial in trials)
        lines.append(f"{kept} of {standing} lasting connections survived")
    return lines
