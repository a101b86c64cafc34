"""The Debian packages whose programs lvslab runs, and refusing to start where one is missing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lvslab.errors import CannotError


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


def require_programs() -> None:
    """Refuse to start where a needed program is missing.

    Raises:
        CannotError: names each and the command that installs them.
    """
    missing = [package for package in missing_packages() if package.needed]
    if missing:
        names = ", ".join(str(package.program) for package in missing)
        raise CannotError(
            f"programs: {names} not found; run: {install_command(package.name for package in missing)}"
        )


def require_scripts(who: str, scripts: Iterable[str]) -> None:
    """Refuse to start where scripts name a program that lvslab knows and this machine lacks.

    Args:
        who: whose scripts they are, for the message.

    Raises:
        CannotError: names each and the command that installs them.
    """
    words = {word for script in scripts for word in re.findall(r"[\w.-]+", script)}
    missing = [package for package in missing_packages() if package.program in words]
    if missing:
        names = ", ".join(str(package.program) for package in missing)
        raise CannotError(
            f"{who}: {names} not found; run: {install_command(package.name for package in missing)}"
        )


def program_path() -> str:
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def install_command(names: Iterator[str] | Sequence[str]) -> str:
    return "apt-get install --no-install-recommends " + " ".join(names)


def has_apt() -> bool:
    """Whether Debian's package manager is here, so that `install_command` can be typed."""
    return shutil.which("apt-get", path=program_path()) is not None


def how_to_get(names: Iterable[str]) -> str:
    """What to do for Debian packages to be here: the command, or, where there is no apt, the
    programs themselves, since the names of packages are Debian's and other distributions have their
    own.
    """
    wanted = list(names)
    if has_apt():
        return install_command(wanted)
    programs = {package.name: package.program for package in packages()}
    needed = ", ".join(
        f"{programs[name]} (Debian's package {name})"
        if programs.get(name)
        else f"what Debian's package {name} has"
        for name in wanted
    )
    return f"no apt here: with your own package manager, install {needed}"


def distribution(release: Path = Path("/etc/os-release")) -> str:
    """This machine's distribution as os-release(5) names it."""
    try:
        lines = release.read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown distribution"
    fields = dict(line.partition("=")[::2] for line in lines)
    return fields.get("PRETTY_NAME", "unknown distribution").strip("\"'")
