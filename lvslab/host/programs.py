"""The Debian packages whose programs lvslab runs, and which of them are missing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Package:
    """A Debian package and why lvslab uses it.

    Attributes:
        program: None for those without one.
        needed: nothing runs without it.
        controls: only labs that use it need it; it is installed with the others.
    """

    name: str
    program: str | None
    needed: bool
    controls: bool
    why: str


def packages() -> list[Package]:
    """The packages of debian-packages.txt."""
    found = []
    for line in (files("lvslab") / "data" / "debian-packages.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, program, need, why = line.split(None, 3)
            found.append(
                Package(name, None if program == "-" else program, need == "need", need == "control", why)
            )
    return found


def missing_packages() -> list[Package]:
    """The packages whose program is not there, but not those that are optional."""
    wanted = [package for package in packages() if package.needed or package.controls]
    return [
        package
        for package in wanted
        if package.program and not shutil.which(package.program, path=program_path())
    ]


def program_path() -> str:
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
