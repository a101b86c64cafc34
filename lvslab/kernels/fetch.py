"""Adds kernels to the catalog: gets Debian's packages, unpacks them, boots the kernel once, and only then lets the entry appear.

Whoever interrupts it, in whatever way, leaves the catalog as it was; the next fetch removes what lies about.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lvslab.errors import CannotError
from lvslab.events import Event, Listener, nobody
from lvslab.exitcodes import ExitCode
from lvslab.kernels import apt, probe
from lvslab.kernels.apt import PrivateApt, SuiteError, UntrustedError
from lvslab.kernels.catalog import ENTRY, CatalogEntry, Spec, entry_directory, read_entry
from lvslab.kernels.elf import Elf
from lvslab.kernels.uml import UmlKernel

PACKAGE, LIBC_PACKAGE = "user-mode-linux", "libc6"

NEEDED_MIB = 450
"""Room that a fetch takes at most: lists of packages, the package, its files (180 MiB)."""

_TRIAL_SECONDS = 180.0
_STARTS_SECONDS = 20.0
_WORK = "work-"


def fetch(spec: str, cache: Path | None = None, tell: Listener = nobody) -> CatalogEntry:
    """Get a kernel into the catalog; where this version is there already, that one is returned.

    Needs the machine's network, so it must not be called in a sandbox; the trial boot makes its own.

    Args:
        spec: `debian/SUITE[:uml][=VERSION]`.
        cache: by default `probe.cache_directory()`.
        tell: takes progress.

    Raises:
        UsageError: the spec is written otherwise.
        CannotError: it cannot be had, or does not boot here; the message says why and what helps.
    """
    wanted = Spec.parse(spec)
    cache = cache or probe.cache_directory()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache, tell):
            _sweep(cache)
            there = wanted.version and _usable(entry_directory(cache, wanted.suite, wanted.version))
            if there:
                tell(Event("", "fetch", f"{there.full_name}: is there already"))
                return there
            _require_room(cache)
            with tempfile.TemporaryDirectory(prefix=_WORK, dir=cache, ignore_cleanup_errors=True) as work:
                return _Fetch(wanted, cache, Path(work), tell).run()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CannotError(f"{cache}: the disk is full; free some space, or set XDG_CACHE_HOME") from error
        raise CannotError(f"{error.filename or cache}: {error.strerror or error}; the cache must be writable") from error


class _Fetch:
    """One fetch, in a working directory that is thrown away."""

    def __init__(self, wanted: Spec, cache: Path, work: Path, tell: Listener) -> None:
        self._wanted, self._cache, self._work, self._tell = wanted, cache, work, tell
        self._states = 0

    def run(self) -> CatalogEntry:
        source = self._source()
        version = self._version(source)
        target = entry_directory(self._cache, self._wanted.suite, version)
        there = _usable(target)
        if there:
            self._tell(Event("", "fetch", f"{there.full_name}: is there already, and is the newest"))
            return there
        new = self._work / "entry"
        self._lay_out(source.download(PACKAGE, version), new)
        loader = self._give_libc(source, new)
        entry = self._try(new, target, version, loader)
        (new / ENTRY).write_text(json.dumps(entry.to_json(), indent=1))
        place(new, target)
        probe.keep_facts(entry.kernel(), entry.facts)
        self._tell(Event("", "fetch", f"{entry.full_name}: {entry.release}, booted in {entry.boot_seconds:.1f} s"))
        return entry

    # -- where it comes from -----------------------------------------------------------------------------------------------------

    def _source(self) -> PrivateApt:
        """The first of the machine's mirrors that serves the suite, signed by Debian.

        Further sources that use Debian's names for suites (other makers' repositories) fail by their signature.
        """
        first: CannotError | None = None
        for mirror in apt.machine_mirrors():
            try:
                return self._trusted(mirror)
            except CannotError as error:
                first = first or error
        assert first is not None  # machine_mirrors gives at least one
        raise first

    def _trusted(self, mirror: str) -> PrivateApt:
        keyring, suite = apt.machine_keyring(), self._wanted.suite
        # Updates and backports do not carry the C library: it comes from the suite that they belong to.
        suites = list(dict.fromkeys((suite, suite.split("-")[0])))
        try:
            return self._updated(mirror, suites, keyring)
        except UntrustedError as error:
            newer = self._newer_keyring(mirror, keyring)
            if newer is None:
                raise error
            return self._updated(mirror, suites, newer)

    def _updated(self, mirror: str, suites: list[str], keyring: Path) -> PrivateApt:
        self._states += 1
        source = PrivateApt(self._work / f"apt-{self._states}", mirror, suites, keyring, self._tell)
        source.update()
        return source

    def _newer_keyring(self, mirror: str, keyring: Path) -> Path | None:
        """Debian's keys as the installed release has them now: a suite that is trusted already vouches for them."""
        codename = apt.os_release().get("VERSION_CODENAME")
        if codename in (None, self._wanted.suite):
            return None
        self._tell(
            Event("", "fetch", f"{self._wanted.suite}: signed by a key that is not here; looking for newer keys in {codename}")
        )
        try:
            source = self._updated(mirror, [codename], keyring)
            version = apt.newest_version(source.versions("debian-archive-keyring", codename))
            where = self._work / "keyring"
            apt.unpack(source.download("debian-archive-keyring", version), where)
        except CannotError:
            return None
        return next((where / path.relative_to("/") for path in apt.KEYRINGS if (where / path.relative_to("/")).is_file()), None)

    def _version(self, source: PrivateApt) -> str:
        offered = source.versions(PACKAGE, self._wanted.suite)
        if not offered:
            raise SuiteError(
                f"{self._wanted}: {self._wanted.suite} has no package {PACKAGE} for this machine; take another suite"
            )
        if self._wanted.version and self._wanted.version not in offered:
            raise SuiteError(f"{self._wanted}: no such version; {self._wanted.suite} has: {', '.join(offered)}")
        return self._wanted.version or apt.newest_version(offered)

    # -- what it is made of ------------------------------------------------------------------------------------------------------

    def _lay_out(self, package: Path, new: Path) -> None:
        """Unpack the kernel and its modules in the shape of an entry."""
        self._tell(Event("", "fetch", f"unpacking {package.name}"))
        files = self._work / "files"
        apt.unpack(package, files)
        package.unlink()
        new.mkdir()
        for there, here in (("usr/bin/linux.uml", "linux.uml"), ("usr/lib/uml/modules", "modules")):
            if not (files / there).exists():
                raise CannotError(f"{package.name}: has no /{there}; this version of the package is not known to lvslab")
            (files / there).rename(new / here)
        for copyright_ in files.glob("usr/share/doc/*/copyright"):
            copyright_.rename(new / "copyright")
        shutil.rmtree(files)

    def _give_libc(self, source: PrivateApt, new: Path) -> Path | None:
        """Make the kernel use its own suite's C library where this machine's is too old for it; returns that one's loader."""
        binary = new / "linux.uml"
        if _why_not_starting(binary) is None:
            return None
        base = self._wanted.suite.split("-")[0]
        offered = source.versions(LIBC_PACKAGE, base) or source.versions(LIBC_PACKAGE, self._wanted.suite)
        if not offered:
            raise CannotError(f"{self._wanted}: needs a newer C library, and {base} has no {LIBC_PACKAGE}")
        version, program = apt.newest_version(offered), Elf(binary)
        home = self._cache / "loaders" / version
        loader = home / Path(program.loader).name
        if not (loader.is_file() and all((home / name).is_file() for name in program.needed)):
            package = source.download(LIBC_PACKAGE, version)
            files, loaders = self._work / "libc", self._work / "loader"
            apt.unpack(package, files)
            loaders.mkdir()
            for name in dict.fromkeys((loader.name, "libc.so.6", *program.needed)):
                found = next((path for path in files.rglob(name) if path.is_file() and not path.is_symlink()), None)
                if found is not None:
                    shutil.copy2(found, loaders / name)
            place(loaders, home)
        program.redirect(loader)
        for library in home.iterdir():
            if library != loader:
                (new / library.name).symlink_to(library)
        problem = _why_not_starting(binary)
        if problem:
            raise CannotError(f"{self._wanted}: does not start, even with {LIBC_PACKAGE} {version}: {problem}")
        return loader

    def _try(self, new: Path, target: Path, version: str, loader: Path | None) -> CatalogEntry:
        """Boot it once.

        Raises:
            CannotError: it does not boot; what its console said is kept in the cache.
        """
        name = f"{self._wanted.name}={version}"
        self._tell(Event("", "boot", f"{name}: trial boot"))
        console = self._work / "console"
        found = run_trial(new, console, self._work / "result")
        problem = found.get("error")
        modules = UmlKernel.at(new).modules.release
        if not problem and found["facts"]["release"] != modules:
            problem = f"says that it is {found['facts']['release']}, but its modules are for {modules}"
        if problem:
            kept = self._cache / "refused.console"
            if console.exists():
                console.replace(kept)
            raise CannotError(f"kernel '{name}': refused, {str(problem).replace(str(console), str(kept))}")
        return CatalogEntry(
            name=self._wanted.name,
            version=version,
            directory=target,
            extra_arguments=tuple(found["extra_arguments"]),
            facts=probe.facts_from_json(found["facts"]),
            boot_seconds=found["boot_seconds"],
            fetched=time.time(),
            loader=loader,
        )


def run_trial(directory: Path, console: Path, result: Path) -> dict[str, Any]:
    """Boot a kernel in a process and sandbox of its own (trial.py).

    Returns:
        What trial.py wrote.

    Raises:
        CannotError: it did not end in time, or not by itself.
        KeyboardInterrupt: it was interrupted.
    """
    command = [sys.executable, "-m", "lvslab.kernels.trial", *map(str, (directory, console, result))]
    try:
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", *command],
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
        raise CannotError(f"trial boot: ended with {done.returncode}: {said[-1] if said else 'no output'}") from None
    return found


def place(new: Path, target: Path) -> None:
    """Let a finished directory appear under its name; a damaged one that stands there is moved aside first.

    Both must lie on one file system, `new` in a working directory.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(new.with_name(f"{new.name}-damaged"))
    new.rename(target)


def _why_not_starting(binary: Path) -> str | None:
    """Why a kernel's program cannot even print its version, or None."""
    try:
        done = subprocess.run(
            [binary, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_STARTS_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = (done.stderr + done.stdout).strip().splitlines()
    return said[0] if said else f"ended with {done.returncode}"


def _usable(directory: Path) -> CatalogEntry | None:
    """The entry in a directory if nothing of it is missing."""
    entry = read_entry(directory)
    try:
        if entry:
            entry.kernel()
    except CannotError:
        return None
    return entry


def _require_room(cache: Path) -> None:
    free = shutil.disk_usage(cache).free >> 20
    if free < NEEDED_MIB:
        raise CannotError(
            f"{cache}: {free} MiB free, a fetch takes up to {NEEDED_MIB} MiB; free some space, or set XDG_CACHE_HOME to another disk"
        )


def _sweep(cache: Path) -> None:
    """Remove what dead processes left: whoever holds the lock knows that nobody works there."""
    for left in cache.glob(f"{_WORK}*"):
        shutil.rmtree(left, ignore_errors=True)


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
            tell(Event("", "fetch", "waiting until another fetch has ended"))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
