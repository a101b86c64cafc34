"""`lvslab explore`: the search for failures in virtual time."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lvslab.cli.common import JSON, RUNS, in_sandbox
from lvslab.cli.terminal import wrapped
from lvslab.cli.virtual import kernel_names, kernels_in_virtual_time
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.words import plural

if TYPE_CHECKING:
    from lvslab.explore.schedule import Case
    from lvslab.explore.searching import Finding, Limit, Search
    from lvslab.explore.workers import Work

_MINUTES, _PROGRESS_SECONDS = 10.0, 20.0
_MOST_MINUTES, _MOST_TRIES = 24 * 60, 1_000_000


@click.command(short_help="Search for failures: faults drawn by seed, worlds in virtual time.")
@click.option(
    "--mode",
    "modes",
    multiple=True,
    metavar="MODE",
    help="Forwarding mode; repeatable. nat and dr by default.",
)
@click.option(
    "--directors",
    type=click.Choice(["1", "2"]),
    help="One director, or a pair with connection sync. By default both are tried.",
)
@click.option("--kernel", metavar="NAME", help="A kernel for virtual time; the one that was built last.")
@click.option("--seed", type=int, default=1, show_default=True, metavar="N", help="Of the first case.")
@click.option("--minutes", type=float, metavar="N", help="End after so many minutes. [default: 10]")
@click.option("--tries", type=int, metavar="N", help="End after so many worlds.")
@click.option(
    "--config",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Your own keepalived.conf; give it twice for a pair. --mode says what its servers are set up for.",
)
@click.option(
    "--schedule",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Try this schedule (TOML) alone, and shrink it if it fails.",
)
@RUNS
@JSON
def explore(
    modes: tuple[str, ...],
    directors: str | None,
    kernel: str | None,
    seed: int,
    minutes: float | None,
    tries: int | None,
    config: tuple[str, ...],
    schedule: Path | None,
    runs: Path,
    as_json: bool,
) -> int:
    """Search for failures. Faults of every kind are drawn and combined by seed, and happen in
    worlds of virtual time with real directors, two at once on two processors. Invariants judge
    each; a schedule that breaks one is shrunk to the shortest that still does, and written as a
    scenario.

    \b
    lvslab explore                                       ten minutes
    lvslab explore --mode nat --directors 2 --tries 20
    lvslab explore --mode dr --config lvs1.conf --config lvs2.conf
    lvslab run runs/…/FINDING.py --time virtual --seed N

    Exit code 1 when something was found, 0 when nothing was. An interruption keeps what was found.
    """
    from lvslab.explore.drawing import setups_of
    from lvslab.explore.kinds import check
    from lvslab.explore.labs import plan_of
    from lvslab.explore.schedule import read_case
    from lvslab.explore.searching import Limit

    minutes, tries = _limits(minutes, tries)
    _check_seed(seed)
    if config and (directors or schedule or len(modes) > 1):
        raise UsageError("explore: --config takes one --mode, and neither --directors nor --schedule")
    if schedule and (modes or directors):
        raise UsageError("explore: --schedule says the lab itself; leave --mode and --directors out")
    given = read_case(schedule) if schedule else None
    names = kernel_names((kernel,) if kernel else ())
    kernels = kernels_in_virtual_time(names)
    setups = [given.setup] if given else setups_of(modes, directors, config)
    plans = {setup: plan_of(setup, kernels, names) for setup in setups}
    if given:
        check(given, plans[given.setup])
    limit = Limit(None if minutes is None else 60 * minutes, tries)

    def work() -> int:
        from functools import partial

        from lvslab.explore.drawing import draw
        from lvslab.explore.searching import Search
        from lvslab.explore.trying import try_case
        from lvslab.scenario.matrix import new_folder

        def only(number: int) -> Case | None:
            return given if given and number == given.seed else None

        cases = only if given else partial(draw, setups=setups, plans=plans)
        search = Search(cases, given.seed if given else seed)
        folder = new_folder(runs, "explore")
        try:
            _search(search, partial(try_case, kernels=kernels, names=names), limit, folder, as_json)
        finally:
            _conclude(search, folder, as_json)
        return ExitCode.FAILED if search.findings else ExitCode.OK

    return in_sandbox(work)


def _limits(minutes: float | None, tries: int | None) -> tuple[float | None, int | None]:
    """
    Raises:
        UsageError: one is no limit.
    """
    if minutes is not None and not 0 < minutes <= _MOST_MINUTES:
        raise UsageError(f"explore: --minutes {minutes:g}: give more than 0, and at most {_MOST_MINUTES}")
    if tries is not None and not 1 <= tries <= _MOST_TRIES:
        raise UsageError(f"explore: --tries {tries}: give a whole number from 1 to {_MOST_TRIES}")
    return (_MINUTES if minutes is None and tries is None else minutes), tries


def _check_seed(seed: int) -> None:
    from lvslab.simulation.labs.world import MOST_SEED

    if not 0 <= seed <= MOST_SEED - _MOST_TRIES:
        raise UsageError(f"explore: --seed {seed}: give a whole number from 0 to {MOST_SEED - _MOST_TRIES}")


def _search(search: Search, work: Work, limit: Limit, folder: Path, as_json: bool) -> None:
    """Search, telling every finding, and once in a while how far it is."""
    from lvslab.explore.searching import Finding, drive
    from lvslab.explore.workers import WORLDS, Workers

    told = 0.0
    with Workers(work, WORLDS) as workers:
        for step in drive(search, workers, limit):
            if isinstance(step, Finding):
                if not as_json:
                    _tell(step)
            elif not as_json and search.seconds - told >= _PROGRESS_SECONDS:
                told = search.seconds
                found = plural(len(search.findings), "finding")
                _say(f"{told:.0f} s: {plural(search.tries, 'world')}, {found}")


def _tell(finding: Finding) -> None:
    case = finding.shortest.case
    if finding.shrunk:
        _say(f"shrunk to {plural(len(case.schedule), 'fault')}: {finding.violation.fingerprint}")
        return
    _say(f"found after {finding.after:.0f} s, in the world of seed {case.seed}:")
    _say(f"  {finding.violation.fingerprint}")


def _conclude(search: Search, folder: Path, as_json: bool) -> None:
    """Write the findings and say what they are, an interruption or not."""
    from lvslab.cli.terminal import print_json
    from lvslab.explore.writing import write_finding

    written = [(finding, write_finding(folder, finding)) for finding in search.findings]
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "seconds": round(search.seconds, 1),
                "worlds": search.tries,
                "broken": search.broken,
                "findings": [_data(search, finding, file) for finding, file in written],
            }
        )
        return
    for finding, file in written:
        case, violation = finding.shortest.case, finding.violation
        _say("", violation.fingerprint)
        _say(*wrapped(f"{violation.sentence}", 78, "  "))
        _say(*(f"  {injection.words}" for injection in case.schedule))
        _say(f"  lvslab run {file} --time virtual --seed {case.seed}")
    broken = f", {search.broken} of which could not be judged" if search.broken else ""
    _say("", f"{plural(search.tries, 'world')} in {search.seconds:.0f} s{broken}; findings: {len(written)}")
    _say(f"written to: {folder}")


def _data(search: Search, finding: Finding, file: Path) -> dict[str, object]:
    return {
        "fingerprint": finding.violation.fingerprint,
        "invariant": finding.violation.invariant,
        "sentence": finding.violation.sentence,
        "seed": finding.shortest.case.seed,
        "setup": asdict(finding.shortest.case.setup),
        "schedule": [injection.words for injection in finding.shortest.case.schedule],
        "frames": finding.shortest.sha256,
        "found_after_seconds": round(finding.after, 1),
        "found_after_worlds": finding.tries,
        "seen_in_worlds": search.seen.get(finding.violation.fingerprint, 0),
        "shrunk": finding.shrunk,
        "scenario": str(file),
    }


def _say(*lines: str) -> None:
    from lvslab.cli.terminal import print_lines

    print_lines(lines)
