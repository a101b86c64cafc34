"""The kernels that are here besides the installed ones: reading only; fetch.py, build.py and add.py
put kernels in, by way of store.py.

    <cache>/<source>/<kernel>/<version>/          a kernel of a source; of Debian's: debian/<suite>/<version>/

    <cache>/local/<name>/                         a kernel that was built or added
    <cache>/loaders/<version>/                    C libraries and their loaders, shared by entries
    <cache>/work-*                                unfinished work, removed by whoever adds something next
    <cache>/lock                                  held while something is added or removed

An entry's directory holds the kernel's file, modules/<release>/, entry.json, the configuration
as `config` where it is known, and libc.so.6 where a foreign one is needed. It appears by one
rename, after the kernel in it has booted.
"""  # noqa: W505

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvslab.catalog.names import LOCAL, KernelName
from lvslab.catalog.sources import SOURCES, parse_name, source_of
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.kernels import probe
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.kinds import HOST, KINDS
from lvslab.kernels.machine import Kernel
from lvslab.kernels.needs import KernelFacts, Kernels

ENTRY = "entry.json"
_VERSION = 1


@dataclass(frozen=True)
class CatalogEntry:
    """A kernel that was fetched, built or added, and has booted here.

    Attributes:
        name: for `--kernel`, for example "debian/trixie"; entries of several versions share it.
        version: of the Debian package; "" for a local one.
        directory: where it lies.
        extra_arguments: for its command line, found useful by the trial boot.
        facts: what the trial boot showed; `probe.guest_facts` boots again where lvslab's trials
            have changed since.
        boot_seconds: of the trial boot, until it ran jobs.
        fetched: when it appeared, in seconds since the epoch.
        loader: of a foreign C library that it was made to use, or None.
        origin: where it comes from, in words.
        details: what else its maker wants to keep, for example the tree's git description.
        schedulers: of IPVS, those that worked in the trial boot; none known of entries that older
            versions of lvslab made.
    """

    name: str
    version: str
    directory: Path
    extra_arguments: tuple[str, ...]
    facts: KernelFacts
    boot_seconds: float
    fetched: float
    loader: Path | None
    origin: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    schedulers: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """How it is booted: one of `KINDS`."""
        return self.facts.kind

    @property
    def release(self) -> str:
        """As `uname -r` in it prints."""
        return self.facts.release

    @property
    def full_name(self) -> str:
        """The name that means this version only."""
        return f"{self.name}={self.version}" if self.version else self.name

    @property
    def how_to_get(self) -> str:
        """The command that gets it again."""
        return parse_name(self.full_name).how_to_get

    def kernel(self) -> Kernel:
        """The kernel, to boot it.

        Raises:
            CannotError: a part of it is gone; names the command that gets it again.
        """
        again = f"kernel '{self.full_name}': damaged: {{}}; run: {self.how_to_get}"
        if self.loader is not None and not (
            self.loader.is_file() and (self.directory / "libc.so.6").is_file()
        ):
            raise CannotError(again.format(f"its C library in {self.loader.parent} is gone"))
        try:
            return KINDS[self.kind].at(self.directory, self.extra_arguments)
        except CannotError as error:
            raise CannotError(again.format(error)) from error

    def size(self) -> int:
        """Bytes on disk, without what it shares with others."""
        return sum(
            path.lstat().st_size
            for path in self.directory.rglob("*")
            if path.is_file() and not path.is_symlink()
        )

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
            "origin": self.origin,
            "details": self.details,
            "schedulers": list(self.schedulers),
        }


def read_entry(directory: Path) -> CatalogEntry | None:
    """The entry in a directory, or None where there is none that this version of lvslab
    understands.
    """
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
            origin=kept.get("origin", ""),
            details=dict(kept.get("details", {})),
            schedulers=tuple(kept.get("schedulers", ())),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def entry_directory(cache: Path, name: KernelName, version: str | None = None) -> Path:
    """Where the entry of a version lies, by default of the name's own."""
    return cache / name.place / (version or name.version or "")


def entries(cache: Path | None = None) -> list[CatalogEntry]:
    """All kernels that were fetched, built or added, by name and version.

    Args:
        cache: by default `cache.cache_directory()`.
    """
    cache = cache or cache_directory()
    places = (place for name in sorted((*SOURCES, LOCAL)) for place in _places(cache / name))
    found = (read_entry(place) for place in places)
    return [entry for entry in found if entry is not None]


def _places(directory: Path) -> Iterator[Path]:
    """The directories of entries in and below a directory; nothing of an entry is looked at."""
    if (directory / ENTRY).is_file():
        yield directory
    elif directory.is_dir():
        for below in sorted(directory.iterdir()):
            yield from _places(below)


def find_entry(name: str, cache: Path | None = None) -> CatalogEntry:
    """The entry that a name means: of several versions the newest.

    Raises:
        UsageError: this is no kernel's name.
        CannotError: it is not here; names the command that gets it.
    """
    known = entries(cache)
    if any(entry.name == f"{LOCAL}/{name}" for entry in known):
        raise UsageError(f"kernel '{name}': unknown; did you mean {LOCAL}/{name}?")
    wanted = parse_name(name)
    fitting = {entry.version: entry for entry in known if entry.name == wanted.name}
    if fitting and wanted.version is None:
        return fitting[source_of(name).newest(fitting)]
    if wanted.version in fitting:
        return fitting[wanted.version]
    family = wanted.name.partition("/")[0]
    here = ", ".join(fitting or [entry.full_name for entry in known if entry.name.startswith(f"{family}/")])
    raise CannotError(
        f"kernel '{name}': not here{f' (here: {here})' if here else ''}; run: {wanted.how_to_get}"
    )


def find(name: str, cache: Path | None = None) -> Kernel:
    """The kernel that a name means; that of a kind is the installed one.

    Raises:
        UsageError: this is no kernel's name.
        CannotError: it is not here; names the command that helps.
    """
    if name in KINDS:
        return KINDS[name].installed()
    return find_entry(name, cache).kernel()


def including(kernels: Kernels, names: Iterable[str]) -> Kernels:
    """The kernels, and those of some names that are not among them: each is tried, or its kept
    trial read.

    Raises:
        UsageError: a name that no kernel can have.
        CannotError: a kernel is not here.
    """
    facts, absent = dict(kernels.facts), dict(kernels.absent)
    for name in names:
        if name in facts or name == HOST:
            continue
        try:
            facts[name] = probe.guest_facts(find(name))
        except LabError as error:
            absent[name] = str(error)
    return Kernels(facts, absent)
