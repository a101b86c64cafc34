"""`lvslab classroom`: training labs in the browser, for a class and who teaches it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lvslab.errors import CannotError
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from lvslab.classroom.room import Room

_COURSE = click.argument("course", type=click.Path(path_type=Path, dir_okay=False))


@click.group(short_help="Training labs in the browser, for a class.")
def classroom() -> None:
    """Training labs in the browser, for a class and who teaches it.

    \b
    lvslab classroom start COURSE.toml   serve it; prints a link for everybody
    lvslab classroom links COURSE.toml   new links, while it is served or not
    lvslab classroom tickets COURSE.toml FOLDER   a course without a server

    A course is a TOML file with a list of its class beside it: docs/classroom.md.
    """


def _require_framework() -> None:
    from importlib.util import find_spec

    if find_spec("nicegui") is None:
        raise CannotError("classroom: NiceGUI is not installed; install it: pip install 'lvslab[classroom]'")


@classroom.command(short_help="Serve a course; prints a link for everybody.")
@_COURSE
@click.option("--address", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65535), metavar="PORT", default=8080, show_default=True)
@click.option("--certificate", metavar="FILE", type=click.Path(path_type=Path), help="For TLS: a PEM file.")
@click.option(
    "--key", metavar="FILE", type=click.Path(path_type=Path), help="For TLS: the certificate's key."
)
@click.option("--behind-proxy", metavar="NAME", help="Name of a proxy in front that does TLS.")
def start(
    course: Path,
    address: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    behind_proxy: str | None,
) -> int:
    """Serve COURSE until Ctrl-C. Labs go on meanwhile and are there again at the next start.

    Everybody's link works once; after that the browser has a session. Who is without one gets a
    new link: on the instructor's page, or by `lvslab classroom links`.
    """
    _require_framework()
    from lvslab.classroom.room import open_room
    from lvslab.classroom.server import Place, build, serve
    from lvslab.classroom.words import speaker
    from lvslab.cli.terminal import print_lines
    from lvslab.host.distribution import require_programs
    from lvslab.training.course import load_course

    place = Place(address, port, certificate, key, behind_proxy)
    place.check()
    told = load_course(course)
    require_programs()
    room = open_room(told, speaker(told.language))
    app = build(room, place)
    print_lines(_links(room))
    sys.stdout.flush()
    serve(app, place)
    return ExitCode.OK


@classroom.command(short_help="Write a ticket for each student: a course without a server.")
@_COURSE
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def tickets(course: Path, folder: Path) -> int:
    """Write a ticket for each student of COURSE into FOLDER. With it she works by
    `lvslab train course`, and hands in what you grade by `lvslab train grade`.
    """
    from lvslab.cli.terminal import print_lines
    from lvslab.training import ticket
    from lvslab.training.course import load_course
    from lvslab.training.course_folder import open_folder

    told = load_course(course)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for made in ticket.tickets(told, open_folder(told)):
        files.append(folder / f"{made.student}.ticket")
        ticket.write(made, files[-1])
    print_lines([str(file) for file in files])
    return ExitCode.OK


@classroom.command(short_help="Make new links.")
@_COURSE
@click.argument("member", nargs=-1)
@click.option(
    "--url", metavar="URL", default="http://127.0.0.1:8080", show_default=True, help="Where it is served."
)
def links(course: Path, member: tuple[str, ...], url: str) -> int:
    """Make new links for the MEMBERs of COURSE, by their ids ("instructor" is whoever teaches), or
    for all. Earlier ones that were not used are void.
    """
    from lvslab.classroom.room import INSTRUCTOR, open_room
    from lvslab.classroom.words import speaker
    from lvslab.cli.terminal import print_lines
    from lvslab.training.course import load_course

    told = load_course(course)
    for id_ in member:
        if id_ != INSTRUCTOR.id:
            told.student(id_)
    room = open_room(told, speaker(told.language))
    room.url = url.rstrip("/")
    print_lines(_links(room, member))
    return ExitCode.OK


def _links(room: Room, only: tuple[str, ...] = ()) -> list[str]:
    from lvslab.classroom.room import INSTRUCTOR

    members = [each for each in (INSTRUCTOR, *room.course.class_) if each.id in only or not only]
    width = max(len(member.name) for member in members)
    return [f"{member.name:<{width}}  {room.link(member.id)}" for member in members]
