"""The kernels that are here besides the installed one: reading only; fetch.py adds to them.

    <cache>/debian/<suite>/<version>/   one entry: linux.uml, modules/<release>/, entry.json, and libc.so.6 where a foreign one is needed
    <cache>/loaders/<version>/          C libraries and their loaders, shared by entries
    <cache>/work-*                      unfinished work, removed by the next fetch
    <cache>/lock                        held while something is added

An entry's directory appears by one rename, after the kernel in it has booted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvslab.errors import CannotError, LabError, UsageError
from lvslab.kernels import apt, probe
from lvslab.kernels.needs import KernelFacts, KernelKind
from lvslab.kernels.uml import UmlKernel
from lvslab.plan import Kernels

ENTRY = "entry.json"
_VERSION = 1
_SPEC = re.compile(r"debian/(?P<suite>[a-z][a-z0-9-]*)(?::(?P<flavour>[a-z0-9]+))?(?:=(?P<version>[A-Za-z0-9.+~-]+))?")
_FLAVOURS = ("uml",)


@dataclass(frozen=True)
class Spec:
    """A kernel as the user names it: `debian/SUITE[:uml][=VERSION]`; without a version the newest there is."""

    suite: str
    version: str | None = None

    @property
    def name(self) -> str:
        """The short name, under which the newest version is found."""
        return f"debian/{self.suite}"

    def __str__(self) -> str:
        return f"{self.name}:uml" + (f"={self.version}" if self.version else "")

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read it.

        Raises:
            UsageError: it is written otherwise.
        """
        found = _SPEC.fullmatch(text)
        if not found:
            raise UsageError(f"kernel '{text}': unknown; write debian/SUITE[:uml][=VERSION], for example debian/trixie:uml")
        if found["flavour"] not in (None, *_FLAVOURS):
            raise UsageError(f"kernel '{text}': unknown kind '{found['flavour']}'; there is: {', '.join(_FLAVOURS)}")
        return cls(found["suite"], found["version"])


@dataclass(frozen=True)
class CatalogEntry:
    """A kernel that was fetched and has booted here.

    Attributes:
        name: for `--kernel`, for example "debian/trixie"; entries of several versions share it.
        version: of the Debian package.
        directory: where it lies.
        extra_arguments: for its command line, found useful by the trial boot.
        facts: what the trial boot showed; `probe.uml_facts` boots again where lvslab's trials have changed since.
        boot_seconds: of the trial boot, until it ran jobs.
        fetched: seconds since the epoch.
        loader: of a foreign C library that it was made to use, or None.
    """

    name: str
    version: str
    directory: Path
    extra_arguments: tuple[str, ...]
    facts: KernelFacts
    boot_seconds: float
    fetched: float
    loader: Path | None

    @property
    def release(self) -> str:
        """As `uname -r` in it prints."""
        return self.facts.release

    @property
    def full_name(self) -> str:
        """The name that means this version only."""
        return f"{self.name}={self.version}"

    def kernel(self) -> UmlKernel:
        """The kernel, to boot it.

        Raises:
            CannotError: a part of it is gone; names the command that fetches it again.
        """
        again = f"kernel '{self.full_name}': damaged: {{}}; run: lvslab kernels fetch {self.name}:uml={self.version}"
        if self.loader is not None and not (self.loader.is_file() and (self.directory / "libc.so.6").is_file()):
            raise CannotError(again.format(f"its C library in {self.loader.parent} is gone"))
        try:
            return UmlKernel.at(self.directory, self.extra_arguments)
        except CannotError as error:
            raise CannotError(again.format(error)) from error

    def to_json(self) -> dict[str, Any]:
        """As entry.json keeps it."""
        return {
            "version": _VERSION,
            "name": self.name,
            "package_version": self.version,
            "extra_arguments": list(self.extra_arguments),
            "facts": probe.facts_to_json(self.facts),
            "boot_seconds": self.boot_seconds,
            "fetched": self.fetched,
            "loader": str(self.loader) if self.loader else None,
        }


def read_entry(directory: Path) -> CatalogEntry | None:
    """The entry in a directory, or None where there is none that this version of lvslab understands."""
    try:
        kept = json.loads((directory / ENTRY).read_text())
        if kept["version"] != _VERSION:
            return None
        return CatalogEntry(
            name=kept["name"],
            version=kept["package_version"],
            directory=directory,
            extra_arguments=tuple(kept["extra_arguments"]),
            facts=probe.facts_from_json(kept["facts"]),
            boot_seconds=kept["boot_seconds"],
            fetched=kept["fetched"],
            loader=Path(kept["loader"]) if kept["loader"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def entry_directory(cache: Path, suite: str, version: str) -> Path:
    """Where the entry of a version lies."""
    return cache / "debian" / suite / version


def entries(cache: Path | None = None) -> list[CatalogEntry]:
    """All kernels that were fetched, by name and version.

    Args:
        cache: by default `probe.cache_directory()`.
    """
    found = (read_entry(path.parent) for path in sorted((cache or probe.cache_directory()).glob(f"debian/*/*/{ENTRY}")))
    return [entry for entry in found if entry is not None]


def find_entry(name: str, cache: Path | None = None) -> CatalogEntry:
    """The entry that a name means: of several versions the newest.

    Raises:
        UsageError: this is no kernel's name.
        CannotError: it was not fetched; names the command that fetches it.
    """
    spec = Spec.parse(name)
    fitting = {entry.version: entry for entry in entries(cache) if entry.name == spec.name}
    if not fitting or (spec.version and spec.version not in fitting):
        here = f" (here: {', '.join(fitting)})" if fitting else ""
        raise CannotError(f"kernel '{name}': not fetched{here}; run: lvslab kernels fetch {spec}")
    return fitting[spec.version or apt.newest_version(fitting)]


def find(name: str, cache: Path | None = None) -> UmlKernel:
    """The User-Mode Linux kernel that a name means: "uml" is the installed one.

    Raises:
        UsageError: this is no kernel's name.
        CannotError: it is not here; names the command that helps.
    """
    return UmlKernel.find() if name == KernelKind.UML else find_entry(name, cache).kernel()


def including(kernels: Kernels, names: Iterable[str]) -> Kernels:
    """The kernels, and those of some names that are not among them: each is tried, or its kept trial read.

    Raises:
        UsageError: a name that no kernel can have.
        CannotError: a kernel was not fetched.
    """
    facts, absent = dict(kernels.facts), dict(kernels.absent)
    for name in names:
        if name in facts or name == KernelKind.HOST:
            continue
        try:
            facts[name] = probe.uml_facts(find(name))
        except LabError as error:
            absent[name] = str(error)
    return Kernels(facts, absent)
