"""`lvslab rehearse`: a user's own configuration, before its rollout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lvslab.catalog.choice import check_kernel
from lvslab.cli.common import JSON, RUNS, in_sandbox
from lvslab.cli.places import writable_file
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode
from lvslab.kernels.kinds import HOST

if TYPE_CHECKING:
    from lvslab.rehearse.formula import Death
    from lvslab.runs.rehearsal import Answers, Change

_DEATHS = ("killed", "silent", "hung")


@click.command(short_help="Try your own configuration in a lab with its addresses.")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="FILE..."
)
@click.option(
    "--deaths",
    default=",".join(_DEATHS),
    show_default=True,
    metavar="LIST",
    help="How single servers die: killed (refused at once), silent (no power), hung; or none.",
)
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="NAME",
    help="Kernel of the directors, see `lvslab kernels`; given twice: both are tried, side by side.",
)
@click.option(
    "--write-plan",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=writable_file,
    metavar="FILE",
    help="Write down what was guessed, to be edited and given beside the files.",
)
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path, exists=True),
    metavar="NEW",
    help="New files for the same directors: they are reloaded under load, and both are answered for.",
)
@click.option("--dry-run", is_flag=True, help="Print what was read and guessed, and start nothing.")
@RUNS
@JSON
def rehearse(
    files: tuple[Path, ...],
    deaths: str,
    kernels: tuple[str, ...],
    write_plan: Path | None,
    against: tuple[Path, ...],
    dry_run: bool,
    runs: Path,
    as_json: bool,
) -> int:
    """Try your own configuration in a lab with your own addresses: what stands in the table, who is
    served, and what users notice when servers and directors die.

    \b
    lvslab rehearse keepalived.conf           one director
    lvslab rehearse lvs1/ lvs2/               a folder for each director
    lvslab rehearse ldirectord.cf sysctl.conf rules.iptables
    lvslab rehearse old.conf --against new.conf
    lvslab rehearse keepalived.conf --kernel uml --kernel debian/trixie

    FILE is a keepalived.conf, a ldirectord.cf, what `ipvsadm -Sn` prints, a sysctl.conf, what
    iptables-save prints, a plan in TOML, or a folder of them. The real daemons run on them, in real
    kernels. Nothing leaves the lab. Exit code 0 when all is as the files want it, 1 when something
    is not; with --against or two kernels, 1 when the new is worse than the old.
    """
    from lvslab.cli.terminal import print_lines
    from lvslab.rehearse.changing import united
    from lvslab.rehearse.deaths import Wish
    from lvslab.rehearse.files import read_paths
    from lvslab.rehearse.staging import prepared

    wish = Wish(_deaths(deaths))
    if len(kernels) > 2 or (len(kernels) > 1 and against):
        raise UsageError(
            "--kernel: give one, or two to compare them; with --against one: change the files, or the kernel"
        )
    _check_kernels(kernels)
    directors, plan = read_paths(files)
    _check_kernels(plan.kernels.values())
    new = read_paths([*against, *(file for file in files if file.suffix == ".toml")])[0] if against else []
    prepared_files = prepared(united(directors, new) if new else directors, plan)
    if write_plan:
        write_plan.write_text(prepared_files.as_plan())
    duration = prepared_files.duration(wish, len(kernels), [directors, new] if new else ())
    if dry_run:
        print_lines([*prepared_files.lines(), duration])
        return ExitCode.OK

    def work() -> int:
        from lvslab.catalog import catalog
        from lvslab.catalog.choice import kernels_for
        from lvslab.cli.terminal import Progress, print_json
        from lvslab.events import Event
        from lvslab.kernels.needs import Need
        from lvslab.rehearse.recorded import record

        named = [*kernels, *plan.kernels.values()]
        every = catalog.including(kernels_for(list(Need), named[0] if named else None), named)
        stage = prepared_files.stage(every, kernels[0] if kernels else None, directors if new else ())
        other = prepared_files.stage(every, kernels[1]) if len(kernels) > 1 else None
        given = [*map(str, files), *(word for file in against for word in ("--against", str(file)))]
        with Progress() as progress:
            progress(Event("rehearsal", "plan", duration))
            done = record(stage, wish, plan.speaks, runs, given, progress, other or new)
        if as_json:
            print_json({"run": str(done.run), **done.as_json()})
        else:
            _show(done.answers)
            print_lines(["", f"page: {done.page}"])
        return ExitCode.FAILED if done.failed else ExitCode.OK

    return in_sandbox(work)


def _check_kernels(kernels: Iterable[str]) -> None:
    """Refuse kernels that are not here, or cannot be a director's in a rehearsal."""
    for kernel in kernels:
        check_kernel(kernel)
        if kernel == HOST:
            raise UsageError(
                "--kernel host: directors of a rehearsal are cut off and have links of their own names; give"
                " them a kernel of their own, such as uml"
            )


def _deaths(said: str) -> tuple[Death, ...]:
    from lvslab.rehearse.formula import Death

    if said == "none":
        return ()
    words = [word.strip() for word in said.split(",")]
    for word in words:
        if word not in _DEATHS:
            raise UsageError(f"--deaths '{word}': choose from: {', '.join(_DEATHS)}, or none")
    return tuple(Death(word) for word in dict.fromkeys(words))


def _show(answers: Answers | Change) -> None:
    from lvslab.cli.terminal import print_lines, print_table, remedies, wrapped
    from lvslab.report.rehearsal import proof_rows, rows, summary
    from lvslab.runs.rehearsal import Change

    if isinstance(answers, Change):
        _show_change(answers)
        answers = answers.new
    notes = [f"guessed: {guess}" for guess in answers.guesses] + [f"note: {note}" for note in answers.notes]
    print_lines([*(line for note in notes for line in wrapped(note, 80)), ""])
    if answers.differences:
        differences = [part for line in answers.differences for part in wrapped(line, 80, "  ")]
        print_lines(["not as the files say:", *differences, ""])
    print_table(("service", "verdict", "seen"), proof_rows(answers))
    if answers.notices:
        print_lines([""])
        print_table(("fault", "users of", "noticed", "allowed"), rows(answers))
    for finding in answers.findings:
        print_lines(["", *wrapped(f"{finding['name']} ({finding['certainty']}): {finding['reason']}", 80)])
        print_lines(remedies(finding["fix"], 80, "  "))
    print_lines(["", *summary(answers)])


def _show_change(change: Change) -> None:
    from lvslab.cli.terminal import print_lines, print_table, wrapped
    from lvslab.report.rehearsal import known_rows, programs, reload_rows

    changes = [part for line in change.changes or ("nothing",) for part in wrapped(line, 80, "  ")]
    print_lines([f"what the new {change.of} changes:", *changes, ""])
    if change.reloads:
        print_table(("reload", "users of", "new users", "connections"), reload_rows(change))
    if change.history:
        history = [part for line in change.history for part in wrapped(line, 80, "  ")]
        print_lines(["", "what the tables did:", *history])
    if change.known:
        print_lines(["", *wrapped(f"faults of reloads on record, with {programs(change.new)}:", 80)])
        for number, fault, said, seen in known_rows(change):
            told = f"{number}: {fault}: {said}" + (f": {seen}" if seen else "")
            print_lines(wrapped(told, 80, "  "))
    worse = [part for line in change.worse or ("nothing",) for part in wrapped(line, 80, "  ")]
    print_lines(["", f"worse than with the old {change.of}:", *worse])
    print_lines(["", f"with the new {change.of}:"])
