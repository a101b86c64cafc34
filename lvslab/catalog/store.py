"""Puts kernels into the catalog: room, lock, working directory, trial boot, and the rename by which
an entry appears.

Whoever interrupts it, in whatever way, leaves the catalog as it was; the next one who adds
something removes what lies about.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvslab.catalog.catalog import ENTRY, CatalogEntry, read_entry
from lvslab.errors import CannotError, GuestError
from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode
from lvslab.host.linux import bound
from lvslab.kernels import probe
from lvslab.kernels.cache import place
from lvslab.kernels.kinds import kernel_at

_TRIAL_SECONDS = 240.0
_WORK = "work-"
_LAST_LINES = 6


@dataclass(frozen=True)
class Candidate:
    """A kernel laid out in a working directory, before its trial boot.

    Attributes:
        name, version, loader, origin, details: as in `CatalogEntry`.
        directory: where it lies now.
        target: where it will lie.
        costly: it took long to make, so it is kept aside when it is refused.
    """

    name: str
    version: str
    directory: Path
    target: Path
    origin: str
    loader: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    costly: bool = False

    @property
    def full_name(self) -> str:
        """As `CatalogEntry.full_name`."""
        return f"{self.name}={self.version}" if self.version else self.name


@contextmanager
def opened(cache: Path, needed_mib: int, tell: Listener) -> Iterator[Path]:
    """The cache, locked and swept, with room in it; gives a working directory on its file system
    that goes away afterwards.

    Its path is always the same, so that compilers' caches know what is built there again.

    Raises:
        CannotError: the cache cannot be written, or the disk is or becomes full.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache, tell):
            _sweep(cache)
            _require_room(cache, needed_mib)
            work = cache / f"{_WORK}now"
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if _is_full(error):
            raise CannotError(f"{cache}: the disk is full; free some space, or set XDG_CACHE_HOME") from error
        raise CannotError(
            f"{error.filename or cache}: {error.strerror or error}; the cache must be writable"
        ) from error


def _is_full(error: OSError) -> bool:
    """Whether a disk or a quota is used up; shutil.copytree wraps its errors in one that has no
    number.
    """
    reasons = (errno.ENOSPC, errno.EDQUOT)
    return error.errno in reasons or (
        isinstance(error, shutil.Error) and any(os.strerror(each) in str(error) for each in reasons)
    )


@contextmanager
def _locked(cache: Path, tell: Listener) -> Iterator[None]:
    """Hold the cache's lock; the kernel releases it when this process ends, in whatever way.

    Waiting has no bound of its own: all that the holder does is bounded.
    """
    descriptor = os.open(cache / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(Event("", "fetch", "waiting until another command has added its kernel"))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sweep(cache: Path) -> None:
    """Remove what dead processes left: whoever holds the lock knows that nobody works there.

    Moved aside first: an orphaned program that still writes there cannot spoil the next one's work.
    """
    for left in cache.glob(f"{_WORK}*"):
        aside = left.with_name(f"{_WORK}left-{uuid.uuid4().hex}")
        left.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _require_room(cache: Path, needed_mib: int) -> None:
    free = shutil.disk_usage(cache).free >> 20
    if free < needed_mib:
        raise CannotError(
            f"{cache}: {free} MiB free, this takes up to {needed_mib} MiB; free some space, or set"
            " XDG_CACHE_HOME to another disk"
        )


def usable(directory: Path) -> CatalogEntry | None:
    """The entry in a directory if nothing of it is missing."""
    entry = read_entry(directory)
    try:
        if entry:
            entry.kernel()
    except CannotError:
        return None
    return entry


def admit(candidate: Candidate, cache: Path, tell: Listener) -> CatalogEntry:
    """Boot a candidate once and let its entry appear; an entry that stands there is replaced.

    Raises:
        CannotError: a file that the boot needs is missing.
        GuestError: it does not boot, or not as what it says that it is; what its console said is
            kept in the cache.
    """
    entry = _tried(candidate, cache, tell)
    (candidate.directory / ENTRY).write_text(json.dumps(entry.to_json(), indent=1))
    place(candidate.directory, candidate.target)
    kept = read_entry(candidate.target)
    assert kept is not None  # it was written two lines above
    probe.keep_facts(kept.kernel(), kept.facts)
    tell(
        Event(
            "", "fetch", f"{kept.full_name}: {kept.kind} {kept.release}, booted in {kept.boot_seconds:.1f} s"
        )
    )
    return kept


def _tried(candidate: Candidate, cache: Path, tell: Listener) -> CatalogEntry:
    """Boot it once."""
    tell(Event("", "boot", f"{candidate.full_name}: trial boot"))
    console = candidate.directory.with_name("console")
    kernel = kernel_at(candidate.directory)
    if why := kernel.cannot_direct():
        tell(
            Event(
                "", "note", f"{candidate.full_name}: {why}: for {kernel.use.format(candidate.full_name)} only"
            )
        )
    found = run_trial(candidate.directory, console, candidate.directory.with_name("result"))
    problem = found.get("error")
    modules = kernel.modules.release
    if not problem and found["facts"]["release"] != modules:
        problem = f"says that it is {found['facts']['release']}, but its modules are for {modules}"
    if problem:
        kept = cache / "refused.console"
        said = _last_lines(console)
        if console.exists():
            console.replace(kept)
        words = str(problem).replace(str(console), str(kept))
        if candidate.costly:
            aside = cache / "refused"
            place(candidate.directory, aside)
            words += f"; it is kept in {aside}, another try: lvslab kernels add {aside}"
        raise GuestError(
            f"kernel '{candidate.full_name}': refused, {words}" + "".join(f"\n    {line}" for line in said)
        )
    return CatalogEntry(
        name=candidate.name,
        version=candidate.version,
        directory=candidate.target,
        extra_arguments=tuple(found["extra_arguments"]),
        facts=probe.facts_from_json(found["facts"]),
        boot_seconds=found["boot_seconds"],
        fetched=time.time(),
        loader=candidate.loader,
        origin=candidate.origin,
        details=dict(candidate.details),
        schedulers=tuple(found.get("schedulers", ())),
    )


def _last_lines(console: Path) -> list[str]:
    try:
        text = console.read_text(errors="replace")
    except OSError:
        return []
    lines = ["".join(each for each in line if each.isprintable()).strip() for line in text.splitlines()]
    return [line for line in lines if line][-_LAST_LINES:]


def run_trial(directory: Path, console: Path, result: Path) -> dict[str, Any]:
    """Boot a kernel in a process and sandbox of its own (boot_program.py).

    Returns:
        What boot_program.py wrote.

    Raises:
        CannotError: it did not end by itself.
        KeyboardInterrupt: it was interrupted.
    """
    command = [sys.executable, "-m", "lvslab.catalog.boot_program", *map(str, (directory, console, result))]
    try:
        done = subprocess.run(
            bound(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"the trial boot did not end within {_TRIAL_SECONDS:g} s (console: {console})"}
    if done.returncode == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    try:
        found: dict[str, Any] = json.loads(result.read_text())
    except (OSError, ValueError):
        said = done.stderr.strip().splitlines()
        raise CannotError(
            f"trial boot: ended with {done.returncode}: {said[-1] if said else 'no output'}"
        ) from None
    if done.returncode == ExitCode.CANNOT and "error" in found:
        raise CannotError(f"trial boot: {found['error']}")
    return found


def remove(entry: CatalogEntry, cache: Path, tell: Listener) -> None:
    """Take a kernel out of the catalog: by one rename, then its files are deleted.

    Raises:
        CannotError: the cache cannot be written.
    """
    with opened(cache, 0, tell) as work:
        entry.directory.rename(work / "removed")
