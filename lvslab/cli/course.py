"""`lvslab train course`, `hand-in`, `grade`: a course for a class without a server."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from lvslab.cli.common import JSON
from lvslab.errors import UsageError
from lvslab.exitcodes import ExitCode


@click.command(short_help="Work on a course, with the ticket of whoever teaches it.")
@click.argument("ticket", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--leave", is_flag=True, help="Work on no course any more; its records stay.")
def course(ticket: Path | None, leave: bool) -> int:
    """Work on a course from now on: `lvslab train list` shows its labs, which have addresses of
    your own. TICKET is a file from whoever teaches.
    """
    from lvslab.cli.terminal import print_lines
    from lvslab.training import session
    from lvslab.training import ticket as tickets

    root = session.training_directory()
    if leave:
        (root / ".course").unlink(missing_ok=True)
        return ExitCode.OK
    if ticket is None:
        raise UsageError("train course: name the ticket that you got, or give --leave")
    told = tickets.read(ticket)
    tickets.adopt(told, root)
    print_lines([f"{told.title}: {len(told.labs)} labs for {told.student}; see: lvslab train list"])
    return ExitCode.OK


@click.command("hand-in", short_help="Put what you did in a course into one file.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def hand_in(file: Path | None) -> int:
    """Put what you did in the course into FILE, by default COURSE-YOU.zip, for whoever teaches:
    what was typed in the labs' shells, hints, checks, and what the shells showed.
    """
    from lvslab.cli.terminal import print_lines
    from lvslab.training import session
    from lvslab.training import ticket as tickets

    place = session.state_directory()
    if not (place / "ticket.json").exists():
        raise UsageError("hand-in: you work on no course; begin: lvslab train course TICKET")
    told = tickets.read(place / "ticket.json")
    file = file or Path(f"{told.course}-{told.student}.zip")
    labs = tickets.hand_in(told, place, file)
    print_lines([f"{file}: {', '.join(labs)}"])
    return ExitCode.OK


@click.command(short_help="Grade what a class has handed in.")
@click.argument("course", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--points", is_flag=True, help="A line for each point of each exam.")
@JSON
def grade(course: Path, archives: tuple[Path, ...], points: bool, as_json: bool) -> int:
    """Grade the ARCHIVES that the class of COURSE (a TOML file) has handed in: CSV on standard
    output, a line for each student and lab. What was written by hand into a record is not believed,
    and said. Exit code 1 when there is such a record.
    """
    from lvslab.cli.terminal import print_json, print_lines
    from lvslab.training import grades
    from lvslab.training import ticket as tickets
    from lvslab.training.course import load_course
    from lvslab.training.course_folder import open_folder

    told = load_course(course)
    folder = open_folder(told)
    with tempfile.TemporaryDirectory() as there:
        handed_in = [
            tickets.open_archive(archive, told, folder, Path(there) / str(number))
            for number, archive in enumerate(archives)
        ]
    found = grades.grades({each.student: each.accounts for each in handed_in}, folder.values)
    if as_json:
        print_json({"course": told.name, "grades": grades.as_json(found)})
    else:
        table: Callable[..., str] = grades.points_as_csv if points else grades.as_csv
        print_lines(table(found).splitlines())
    return ExitCode.FAILED if any(each.trouble for each in found) else ExitCode.OK
