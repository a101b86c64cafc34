"""The cells of a plan, and the order in which they are done: all that can be wrong with one shows
here, before anything starts.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from lvslab import __version__
from lvslab.bench import measurements
from lvslab.errors import CannotError, LvslabError, UsageError
from lvslab.ipvs.service import Scheduler
from lvslab.modes import mode_named
from lvslab.plan.files import shipped_files
from lvslab.scenario import description
from lvslab.scenario.description import Scenario
from lvslab.scenario.jobs import plan_jobs, read_settings
from lvslab.simulation.labs.world import MOST_SEED
from lvslab.sweep.cell import Cell
from lvslab.sweep.kernels import KernelOfCell, kernel_of
from lvslab.sweep.plan import Plan

FindKernel = Callable[[str, str, str], KernelOfCell]
"""Kind of the cell, its time and the kernel's name or "" → the kernel."""

_OF_RUNS = ("scenario", "mode", "kernel", "time", "seed")
_OF_OTHERS: Mapping[str, tuple[str, ...]] = {"suite": ("kernel",), "bench": ("kernel", "seeds")}
_TIMES = ("real", "virtual")
_SUITE_SECONDS, _MEASUREMENT_SECONDS = 150.0, 2.0
"""What the conformance suite takes on two processors, and one measurement in one boot: a first
guess, which a sweep's own cells correct.
"""


def cells_of(plan: Plan, kernel: FindKernel = kernel_of) -> tuple[Cell, ...]:
    """The cells in the order in which they are done: repetition by repetition, each in an order of
    its own drawn by the plan's seed, so that a drift of the machine falls on all alike (a
    randomised complete block design).

    Raises:
        UsageError: an axis or a value that there is not, or a pair that cannot be.
        CannotError: a kernel that is not here.
    """
    draw = _Runs(plan, kernel) if plan.kind == "run" else _Others(plan, kernel)
    combinations = [
        dict(zip(plan.axes, values, strict=True))
        for values in product(*plan.axes.values())
        if not plan.leaves_out(dict(zip(plan.axes, values, strict=True)))
    ]
    if not combinations:
        raise UsageError(f"plan '{plan.name}': [[leave_out]] leaves nothing")
    once = [draw.cell(axes, 1) for axes in combinations]
    chance = random.Random(plan.order)
    ordered: list[Cell] = []
    for repetition in range(1, plan.repetitions + 1):
        # what virtual time says, it says every time
        block = (
            once
            if repetition == 1
            else [
                draw.cell(axes, repetition)
                for axes, first in zip(combinations, once, strict=True)
                if first.timed
            ]
        )
        ordered += chance.sample(block, len(block))
    return _each_once(ordered)


def _each_once(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """
    Raises:
        UsageError: two cells are the same run.
    """
    by_key: dict[str, Cell] = {}
    for cell in cells:
        twin = by_key.setdefault(cell.key, cell)
        if twin is not cell:
            raise UsageError(
                f"the same run twice: {twin.title}, and {cell.title}; take one of the values out"
            )
    return tuple(cells)


class _Runs:
    """Cells that run a scenario."""

    def __init__(self, plan: Plan, kernel: FindKernel) -> None:
        self._plan, self._find = plan, kernel
        shipped = shipped_files("scenarios")
        self._scenarios = {name: description.load(name, shipped) for name in plan.axes["scenario"]}
        self._sources = {
            name: hashlib.sha256(scenario.file.read_bytes()).hexdigest()
            for name, scenario in self._scenarios.items()
        }
        for axis, values in plan.axes.items():
            self._check(axis, values)

    def _check(self, axis: str, values: Sequence[str]) -> None:
        """Refuse an axis, or values of it, that no cell can have."""
        if axis == "repeat":
            raise UsageError("axis 'repeat': every repetition is a cell of its own; write repetitions = N")
        if axis in ("mode", "modes"):
            for mode in values:
                mode_named(mode)
            if axis == "modes":
                raise UsageError('axis \'modes\': each mode is a cell of its own; write mode = ["nat", "dr"]')
        elif axis == "scheduler":
            for name in values:
                if name not in set(Scheduler):
                    raise UsageError(
                        f"scheduler '{name}': no such scheduler; choose from: {', '.join(Scheduler)}"
                    )
        elif axis == "time":
            for time in values:
                if time not in _TIMES:
                    raise UsageError(f"axis 'time': {time}: choose from: {', '.join(_TIMES)}")
        elif axis == "seed":
            for seed in values:
                if not seed.isdecimal() or int(seed) > MOST_SEED:
                    raise UsageError(f"axis 'seed': {seed}: give whole numbers from 0 to {MOST_SEED}")
        if axis in _OF_RUNS or "." in axis:
            return
        if not any(axis in scenario.parameters for scenario in self._scenarios.values()):
            known = dict.fromkeys(name for each in self._scenarios.values() for name in each.parameters)
            raise UsageError(
                f"there is no axis '{axis}'; there are: {', '.join(_OF_RUNS)}, sysctls, and the scenario's"
                f" parameters: {', '.join(name for name in known if name not in ('repeat', 'mode', 'modes'))}"
            )

    def cell(self, axes: Mapping[str, str], repetition: int) -> Cell:
        scenario = self._scenarios[axes["scenario"]]
        pairs = [f"{name}={value}" for name, value in axes.items() if name not in _OF_RUNS]
        modes = [axes["mode"]] if "mode" in axes else []
        time, name = axes.get("time", "real"), axes.get("kernel", "")
        try:
            read, _ = read_settings(pairs)
            once = 1 if "repeat" in scenario.parameters else None
            job = plan_jobs([scenario], read, modes, once)[0]
            if time == "real" and "seed" in axes:
                raise UsageError("axis 'seed': chance is a world's in virtual time; write time = \"virtual\"")
            if time == "virtual" and scenario.real_time:
                raise UsageError(f"scenario '{scenario.name}' needs real time for {scenario.real_time}")
            kernel = self._find("run", time, name)
            kernel.require(job.values.get("scheduler"))
        except (UsageError, CannotError) as error:
            raise _impossible(axes, error) from error
        world = ["--time", time, "--seed", axes.get("seed", "1")] if time == "virtual" else []
        words = ["run", axes["scenario"], *_option("--mode", axes.get("mode")), *_option("--repeat", once)]
        words += [word for pair in pairs for word in ("--set", pair)]
        words += [*_option("--kernel", name), *world, "--no-report"]
        identity = {
            "kind": "run",
            "scenario": scenario.name,
            "source": self._sources[axes["scenario"]],
            "parameters": {key: description.shown(value) for key, value in job.values.items()},
            "mode": job.mode,
            "sysctls": dict(read.sysctls),
            "world": world,
            "kernel": kernel.identity,
            "repetition": repetition,
            "lvslab": __version__,
        }
        share = _share(scenario, job.values)
        return Cell(
            _title(self._plan, axes, repetition),
            axes,
            repetition,
            tuple(words),
            identity,
            time == "real",
            job.seconds * share,
        )


class _Others:
    """Cells that run the conformance suite or the bench."""

    def __init__(self, plan: Plan, kernel: FindKernel) -> None:
        self._plan, self._find = plan, kernel
        known = _OF_OTHERS[plan.kind]
        for axis, values in plan.axes.items():
            if axis not in known and "." not in axis:
                raise UsageError(
                    f"there is no axis '{axis}' of the {plan.kind}; there are: {', '.join(known)} and sysctls"
                )
            if axis == "seeds" and not all(value.isdecimal() and 1 <= int(value) <= 99 for value in values):
                raise UsageError("axis 'seeds': give whole numbers from 1 to 99")
        count = len(measurements.select(plan.patterns)) if plan.kind == "bench" else 0
        self._seconds = _MEASUREMENT_SECONDS * count or _SUITE_SECONDS

    def cell(self, axes: Mapping[str, str], repetition: int) -> Cell:
        plan, name = self._plan, axes.get("kernel", "")
        pairs = [f"{axis}={value}" for axis, value in axes.items() if "." in axis]
        try:
            read, _ = read_settings(pairs)
            kernel = self._find(plan.kind, "real", name)
        except (UsageError, CannotError) as error:
            raise _impossible(axes, error) from error
        bench = plan.kind == "bench"
        words = ["bench"] if bench else ["verify", "--full"]
        words += [word for pattern in plan.patterns for word in ("--only", pattern)]
        words += [*_option("--kernel", name), *_option("--seeds", axes.get("seeds"))]
        words += [word for pair in pairs for word in ("--set", pair)] + ["--no-report"] * bench
        identity = {
            "kind": plan.kind,
            "patterns": list(plan.patterns),
            "seeds": axes.get("seeds", "3") if bench else "",
            "sysctls": dict(read.sysctls),
            "kernel": kernel.identity,
            "repetition": repetition,
            "lvslab": __version__,
        }
        seconds = self._seconds * int(axes.get("seeds", "3") if bench else 1)
        return Cell(
            _title(self._plan, axes, repetition), axes, repetition, tuple(words), identity, False, seconds
        )


def _share(scenario: Scenario, values: Mapping[str, object]) -> float:
    """What part of the scenario's usual lists is asked for: it loops over them."""
    lists = {name: usual for name, usual in scenario.parameters.items() if isinstance(usual, tuple) and usual}
    return math.prod(
        len(value) / len(lists[name])
        for name, value in values.items()
        if name in lists and isinstance(value, tuple)
    )


def _title(plan: Plan, axes: Mapping[str, str], repetition: int) -> str:
    """The cell in a line: what tells it from the others."""
    several = {name: value for name, value in axes.items() if len(plan.axes[name]) > 1}
    plain = [several.pop(name) for name in ("scenario", "mode") if name in several]
    words = [*plain, *(f"{name.rpartition('.')[2]}={value}" for name, value in several.items())]
    return ", ".join([*(words or [plan.title]), *([f"repetition {repetition}"] * (plan.repetitions > 1))])


def _option(name: str, value: object) -> list[str]:
    return [name, str(value)] if value not in (None, "") else []


def _impossible(axes: Mapping[str, str], error: LvslabError) -> LvslabError:
    """The error with the cell that it is about, and the way out."""
    cell = ", ".join(f"{name} = {value}" for name, value in axes.items())
    return type(error)(f"{cell}: {error}; a pair that cannot be goes into [[leave_out]]")
