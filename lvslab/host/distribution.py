"""This machine's distribution: what it is called, how it installs what Debian's packages have, and
refusing to start where a program is missing.

A package manager is recognised by os-release(5), apt by being there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from lvslab.errors import CannotError
from lvslab.host.programs import missing_packages, packages, program_path

OS_RELEASE = Path("/etc/os-release")

_INSTALL = {
    "fedora": "dnf install",
    "arch": "pacman -S",
    "opensuse": "zypper install",
    "alpine": "apk add",
}
"""A family of distributions, as ID or ID_LIKE names it → its command; in the order of the columns
of package-names.txt.
"""


def name() -> str:
    """As os-release(5) names it for people."""
    return _os_release().get("PRETTY_NAME", "unknown distribution")


def has_apt() -> bool:
    """Whether Debian's package manager is here, with Debian's names of packages."""
    return shutil.which("apt-get", path=program_path()) is not None


def how_to_get(wanted: Iterable[str]) -> str:
    """What to do so that Debian's packages of these names, or what they have, are here: a command
    where there is one, and the programs that it does not bring.
    """
    debian = list(wanted)
    family = _family()
    if has_apt():
        return f"apt-get install --no-install-recommends {' '.join(debian)}"
    if not family:
        return f"with your own package manager, install {_programs(debian)}"
    names = _names(family)
    known = dict.fromkeys(names[package] for package in debian if package in names)
    unknown = [package for package in debian if package not in names]
    parts = [f"{_INSTALL[family]} {' '.join(known)}"] if known else []
    if unknown:
        parts.append(f"no package of this distribution is known to have {_programs(unknown)}")
    return "; ".join(parts)


def advice(*wanted: str) -> str:
    """The end of an error's message: how to get what Debian's packages of these names have."""
    text = how_to_get(wanted)
    return f"run: {text}" if text.startswith(("apt-get", *_INSTALL.values())) else text


def require_programs() -> None:
    """Refuse to start where a needed program is missing.

    Raises:
        CannotError: names each and the command that installs them.
    """
    missing = [package for package in missing_packages() if package.needed]
    if missing:
        names = ", ".join(str(package.program) for package in missing)
        raise CannotError(f"programs: {names} not found; {advice(*(package.name for package in missing))}")


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
        raise CannotError(f"{who}: {names} not found; {advice(*(package.name for package in missing))}")


def _os_release() -> Mapping[str, str]:
    try:
        lines = OS_RELEASE.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    fields = (line.partition("=") for line in lines)
    return {key: value.strip("\"'") for key, mark, value in fields if mark}


def _family() -> str:
    """The family whose names of packages hold here, or "". Red Hat's enterprise systems are like
    Fedora, but have a part of its packages only.
    """
    fields = _os_release()
    words = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".split()
    return "" if "rhel" in words else next((word for word in words if word in _INSTALL), "")


def _names(family: str) -> Mapping[str, str]:
    """Debian's name of a package → the family's, where it is known."""
    column = list(_INSTALL).index(family) + 1
    lines = (files("lvslab") / "data" / "package-names.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    return {row[0]: row[column] for row in rows if row[column] != "-"}


def _programs(debian: Iterable[str]) -> str:
    programs = {package.name: package.program for package in packages()}
    return ", ".join(
        f"{programs[package]} (Debian's package {package})"
        if programs.get(package)
        else f"what Debian's package {package} has"
        for package in debian
    )
