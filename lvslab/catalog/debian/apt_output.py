"""What apt's and dpkg's tools say, and what it means: their listings, their progress, their errors.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvslab.errors import CannotError

_SUITES = (
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "sid",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
)
"""By these names a source is known as Debian's own, besides the name of the release that is
installed.
"""


class UntrustedError(CannotError):
    """A suite is signed by nobody whose key is at hand, or not at all."""


class SuiteError(CannotError):
    """The mirror has no such suite."""


@dataclass(frozen=True)
class Source:
    """One source of packages that the machine is set up for: where and which suite and
    component.
    """

    uri: str
    suite: str
    component: str


def parse_sources(text: str) -> list[Source]:
    """Sources from lines `uri|suite|component`, each once, in order."""
    found = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
    return list(dict.fromkeys(Source(uri.rstrip("/"), suite, component) for uri, suite, component in found))


def debian_mirrors(sources: Iterable[Source], codename: str | None) -> list[str]:
    """Addresses that serve Debian's main archive, as far as their suites' names tell, in order.

    Args:
        codename: of the Debian release that is installed, or None.
    """
    names = {*_SUITES, codename}
    return list(
        dict.fromkeys(
            source.uri
            for source in sources
            if source.component == "main"
            and source.suite.split("-")[0] in names
            and not source.suite.endswith("-security")
        )
    )


def parse_madison(text: str, package: str, suite: str) -> list[str]:
    """Versions from `apt-cache madison`, whose lines read
    `package | version | uri suite/component architecture Packages`.
    """
    rows = [[field.strip() for field in line.split("|")] for line in text.splitlines()]
    return [row[1] for row in rows if len(row) == 3 and row[0] == package and f" {suite}/" in row[2]]


def parse_depends(text: str) -> dict[str, str]:
    """Package → version, from the first Depends of `apt-cache show` (deb-control(5)); alternatives
    and ranges are left out.
    """
    line = next((line for line in text.splitlines() if line.startswith("Depends:")), "")
    found = (
        re.fullmatch(r"(\S+) \(= (\S+)\)", each.strip()) for each in line.removeprefix("Depends:").split(",")
    )
    return {each[1]: each[2] for each in found if each}


def parse_status(line: str) -> float | None:
    """Percent done, from `dlstatus:<item>:<percent>:<text>` (README.progress-reporting of apt);
    None for other lines.
    """
    fields = line.strip().split(":", 3)
    if len(fields) != 4 or fields[0] != "dlstatus":
        return None
    try:
        return float(fields[2])
    except ValueError:
        return None


_CAUSES: Sequence[tuple[str, type[CannotError], str]] = (
    (
        r"No space left|not enough free space|Disk quota",
        CannotError,
        "the disk is full; free some space, or set XDG_CACHE_HOME",
    ),
    (
        r"Temporary failure resolving|Could not resolve|[Cc]ould not connect|Connection (?:timed"
        r" out|failed|refused)|unreachable"
        r"|Unable to connect|Connection reset|Cannot initiate the connection",
        CannotError,
        "{where} cannot be reached; check the network and apt's proxy, then try again",
    ),
    (
        (
            r"NO_PUBKEY|is not signed|signatures? (?:were|was) invalid|BADSIG|EXPKEYSIG|KEYEXPIRED|cannot be"
            r" authenticated|Missing key"
        ),
        UntrustedError,
        (
            "not signed by a key of this machine's Debian keyring; run: apt-get install --only-upgrade"
            " debian-archive-keyring"
        ),
    ),
    (r"does not have a Release file|404 +Not Found", SuiteError, "{where} does not have it; check the name"),
    (
        r"Hash Sum mismatch|unexpected size",
        CannotError,
        "{where} is being updated or damaged; try again in some minutes",
    ),
    (
        r"Release file .* expired|not valid yet",
        CannotError,
        "{where} is out of date, or this machine's clock is wrong",
    ),
)


def explain(output: str, what: str, where: str) -> CannotError:
    """The error that an output of apt or dpkg means: the object, the cause and the next step."""
    for pattern, kind, cause in _CAUSES:
        if re.search(pattern, output):
            return kind(f"{what}: {cause.format(where=where)}")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("E: ")), lines[-1] if lines else "no output")
    return CannotError(f"{what}: {said.removeprefix('E: ')}")
