"""`lvslab run --time virtual`: its options, and what cannot be asked there."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode, gravest

if TYPE_CHECKING:
    from lvslab.cli.terminal import Progress
    from lvslab.kernels.needs import Kernels
    from lvslab.runs.worlds import SeedTrial
    from lvslab.scenario.cells import Cell
    from lvslab.scenario.description import Scenario
    from lvslab.scenario.jobs import Job
    from lvslab.simulation.labs.pause import Pause
    from lvslab.simulation.labs.world import VirtualWorld

_Command = TypeVar("_Command", bound=Callable[..., Any])

MOST_SEEDS = 100_000
MOST_SECONDS = 1_000_000


def virtual_options(command: _Command) -> _Command:
    """The options of a run that may be in virtual time."""
    options = [
        click.option(
            "--time",
            "time_",
            type=click.Choice(["real", "virtual"]),
            default="real",
            show_default=True,
            help="Whose time passes: this machine's, or that of a simulated world around real directors.",
        ),
        click.option(
            "--seed", type=int, metavar="N", help="Of a world in virtual time: its chance. 1 by default."
        ),
        click.option(
            "--seeds", type=int, metavar="N", help="So many worlds, of this seed and those that follow it."
        ),
        click.option("--capture", is_flag=True, help="Keep the frames of a world in virtual time."),
        click.option(
            "--until", type=float, metavar="T", help="Stop a world in virtual time after T of its seconds."
        ),
        click.option(
            "--shell", is_flag=True, help="Open a console on a director while the world stands there."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Virtual:
    """What a command line asks of virtual time.

    Attributes:
        seeds: of the worlds.
        capture: keep their frames.
        pause: where the world stops.
        shell: a console is opened there.
    """

    seeds: range
    capture: bool
    pause: Pause | None = None
    shell: bool = False

    @classmethod
    def of(
        cls,
        time: str,
        seed: int | None,
        seeds: int | None,
        capture: bool,
        until: float | None = None,
        shell: bool = False,
    ) -> Virtual | None:
        """None in real time.

        Raises:
            UsageError: options that belong to virtual time, or numbers that no world has.
        """
        if time == "real":
            if seed is not None or seeds is not None or capture or until is not None or shell:
                raise UsageError(
                    "run: --seed, --seeds, --capture, --until and --shell belong to worlds: add --time"
                    " virtual"
                )
            return None
        from lvslab.simulation.labs.world import MOST_SEED

        first, count = 1 if seed is None else seed, 1 if seeds is None else seeds
        if not 1 <= count <= MOST_SEEDS:
            raise UsageError(f"run: --seeds {count}: give a whole number between 1 and {MOST_SEEDS}")
        if not 0 <= first <= MOST_SEED - count:
            raise UsageError(f"run: --seed {first}: give a whole number between 0 and {MOST_SEED - count}")
        if shell and until is None:
            raise UsageError("run: --shell opens where --until stops the world: add --until SECONDS")
        if until is None:
            return cls(range(first, first + count), capture)
        if not 0 <= until <= MOST_SECONDS:
            raise UsageError(f"run: --until {until:g}: give seconds between 0 and {MOST_SECONDS}")
        if count > 1:
            raise UsageError("run: --until stops one world: leave --seeds out")
        from lvslab.simulation.labs.pause import Pause

        return cls(range(first, first + 1), capture, Pause(until), shell)

    def refuse(self, scenarios: Sequence[Scenario]) -> None:
        """
        Raises:
            UsageError: a scenario asks what virtual time cannot say.
        """
        for scenario in scenarios:
            if scenario.real_time:
                raise UsageError(
                    f"scenario '{scenario.name}': needs real time for {scenario.real_time}; leave --time"
                    " virtual out"
                )

    def alone(self, work: Callable[[], int]) -> Callable[[], int]:
        """The work on one processor, which a world is quicker on than on two."""

        def pinned() -> int:
            from lvslab.simulation.processor import on_one_processor

            with on_one_processor():
                return work()

        return pinned

    def world(self, progress: Progress) -> VirtualWorld:
        """The world of the first seed; `progress` gives its place to a console."""
        from lvslab.cli.still import open_console
        from lvslab.simulation.labs.world import VirtualWorld

        if self.pause and self.shell:
            self.pause.look = partial(open_console, progress)
        return VirtualWorld(self.seeds[0], keep=self.capture, pause=self.pause)

    def judge_pause(self) -> None:
        """
        Raises:
            UsageError: the world was to stop after its end.
        """
        if self.pause and not self.pause.reached:
            raise UsageError(
                f"run: --until {self.pause.seconds:g}: this world ended before that; give a time of an event"
                " in its run.json"
            )


def kernel_names(names: Sequence[str]) -> tuple[str, ...]:
    """The kernels of the directors by their full names; the one that was built last where none is
    named.

    Raises:
        UsageError: one is on the real clock.
        CannotError: it is not here; says how to get it.
    """
    from lvslab.catalog.virtual_time import entry_in_virtual_time

    return tuple(entry_in_virtual_time(name).full_name for name in names or (None,))


def kernels_here() -> Kernels:
    """All kernels for virtual time, as `kernels_in_virtual_time` has them."""
    from lvslab.catalog import catalog
    from lvslab.kernels.virtual_time import VirtualTimeKernel

    here = (entry for entry in catalog.entries() if entry.kind == VirtualTimeKernel.kind)
    return kernels_in_virtual_time([entry.full_name for entry in here])


def kernels_in_virtual_time(names: Sequence[str]) -> Kernels:
    """What a plan may choose from; all that directors can need is built into these kernels."""
    from lvslab.catalog.virtual_time import entry_in_virtual_time
    from lvslab.kernels.needs import Need
    from lvslab.simulation.labs.world import kernels_of

    return kernels_of(
        {
            name: replace(
                entry_in_virtual_time(name).facts,
                met=frozenset(Need),
                unmet={},
                iptables="iptables-legacy",
            )
            for name in names
        }
    )


def run_worlds(
    virtual: Virtual, job: Job, cell: Cell, runs: Path, *, as_json: bool, draw: bool = True
) -> int:
    """A scenario in many worlds: a line for each, then what they say together.

    Args:
        draw: draw the page of all worlds.
    """
    from lvslab.cli.terminal import print_json, print_lines
    from lvslab.runs import worlds
    from lvslab.scenario import seeds
    from lvslab.scenario.matrix import new_folder

    folder = new_folder(runs)
    kernels = kernels_here()
    trials: list[SeedTrial] = []
    for ended in seeds.run_seeds(job, cell, kernels, virtual.seeds, folder, keep=virtual.capture):
        trials += ended
        if not as_json:
            print_lines([_line(trial) for trial in ended])
    worlds.write_tables(folder, trials)
    worst = worlds.worst(trials)
    replay = replay_words(job, cell, worst.seed)
    page = None
    if draw:
        from lvslab.report.worlds import write_worlds

        page = write_worlds(folder, trials, job.scenario.title, replay).html
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "report": str(page) if page else None,
                "worst_seed": worst.seed,
                "replay": replay,
                "trials": [asdict(trial) for trial in sorted(trials, key=lambda trial: trial.seed)],
            }
        )
    else:
        for variant, own in worlds.by_variant(trials).items():
            print_lines(["", variant or job.title, *worlds.distribution(own)])
        print_lines(
            [
                "",
                f"worst seed: {worst.seed}; again, with its frames:",
                f"  {replay}",
                f"worlds: {folder / worlds.TRIALS}",
                *([f"report: {page}"] if page else []),
            ]
        )
    return gravest(ExitCode(trial.code) for trial in trials)


def run_cells(virtual: Virtual, job: Job, cells: Sequence[Cell], runs: Path, *, as_json: bool) -> int:
    """A scenario in the same worlds in several cells, each in turn; every one is compared with the
    first.
    """
    from lvslab.cli.terminal import print_json, print_lines
    from lvslab.comparison.numbers import Limits
    from lvslab.comparison.worlds import compare_worlds, in_words, read_worlds
    from lvslab.runs import worlds
    from lvslab.scenario import seeds
    from lvslab.scenario.matrix import new_folder

    place, kernels = new_folder(runs), kernels_here()
    codes: list[ExitCode] = []
    for cell in cells:
        folder = place / cell.folder
        folder.mkdir()
        trials: list[SeedTrial] = []
        for ended in seeds.run_seeds(job, cell, kernels, virtual.seeds, folder, keep=virtual.capture):
            trials += ended
            if not as_json:
                print_lines([f"{cell.name}, {_line(trial)}" for trial in ended])
        worlds.write_tables(folder, trials)
        codes += [ExitCode(trial.code) for trial in trials]
    base, comparisons = read_worlds(place / cells[0].folder), {}
    for cell in cells[1:]:
        found = comparisons[cell.name] = compare_worlds(base, read_worlds(place / cell.folder), Limits())
        if found.worse:
            codes.append(ExitCode.FAILED)
        if not as_json:
            print_lines(["", f"{cells[0].name} against {cell.name}:", *in_words(found)])
    if as_json:
        said = {name: asdict(found) for name, found in comparisons.items()}
        print_json({"folder": str(place), "base": cells[0].name, "comparisons": said})
    else:
        print_lines(["", f"worlds: {place}"])
    return gravest(codes)


def replay_words(job: Job, cell: Cell, seed: int) -> str:
    """The command that lets the world of a seed happen again, its frames kept."""
    sysctls = [word for name, value in cell.sysctls.items() for word in ("--set", f"{name}={value}")]
    kernels = [word for kernel in cell.kernels for word in ("--kernel", kernel)]
    own = ["--time", "virtual", "--seed", str(seed), "--capture"]
    return shlex.join(["lvslab", "run", *job.words, *sysctls, *kernels, *own])


def _line(trial: SeedTrial) -> str:
    outage = "not known" if trial.outage is None else f"{trial.outage:.9f} s"
    standing = len(trial.connections)
    kept = f", {trial.survived} of {standing} survived" if standing else ""
    verdict = {ExitCode.OK: "PASS", ExitCode.FAILED: "FAIL"}.get(ExitCode(trial.code), "BROKE")
    return (
        f"seed {trial.seed}: {verdict}, {trial.variant or 'no trial'}: outage {outage}{kept},"
        f" frames {trial.sha256[:16]}" + (f"; {trial.error}" if trial.error else "")
    )
