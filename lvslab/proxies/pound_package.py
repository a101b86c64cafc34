"""Pound from a newer Debian suite, unpacked with the libraries that it was built with; nothing is
installed on the machine.

The packages come as newer kernels do: through apt's own tools with a state of their own, signatures
checked (`lvslab.catalog.debian.apt`). The program is started by its own suite's loader,
`ld.so --library-path` (ld.so(8)), so it does not meet the machine's C library at all.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from lvslab.catalog import store
from lvslab.catalog.debian import apt
from lvslab.catalog.debian.apt import PrivateApt
from lvslab.catalog.debian.mirror import Mirrors
from lvslab.errors import CannotError
from lvslab.events import Event, Listener, nobody
from lvslab.kernels.cache import cache_directory, place

SUITES = ("trixie", "forky", "sid")
"""Suites with Pound 4, the one that ages least first."""

LIBRARIES: tuple[tuple[str, ...], ...] = (
    ("libc6",),
    ("libadns1t64", "libadns1"),
    ("libcrypt1",),
    ("libpcre2-8-0",),
    ("libssl3t64", "libssl3"),
    ("zlib1g",),  # these two: of libssl
    ("libzstd1",),
)
"""Packages that it needs, each with its names in different suites; a package that a suite does not
have is not needed there.
"""

NEEDED_MIB = 120
_LOADER = "ld-linux-x86-64.so.2"
_START_SECONDS = 20.0


@dataclass(frozen=True)
class Installed:
    """A Pound that is here.

    Attributes:
        directory: with the program, its loader and its libraries.
    """

    directory: Path

    @property
    def version(self) -> str:
        """Of its Debian package."""
        return self.directory.name


def start(directory: PurePath) -> tuple[str, ...]:
    """How Pound is started in a directory that holds it, its loader and its libraries."""
    return (str(directory / _LOADER), "--library-path", str(directory), str(directory / "pound"))


def home(cache: Path | None = None) -> Path:
    """Where versions of Pound lie, beside the kernels."""
    return (cache or cache_directory()).parent / "pound"


def installed(cache: Path | None = None) -> Installed | None:
    """The newest Pound that is here, or None."""
    found = [
        each for each in home(cache).glob("*") if (each / "pound").is_file() and (each / _LOADER).is_file()
    ]
    if not found:
        return None
    newest = apt.newest_version(each.name for each in found)
    return Installed(home(cache) / newest)


def fetch(cache: Path | None = None, tell: Listener = nobody, suites: Sequence[str] = SUITES) -> Installed:
    """Get Pound, unless it is here.

    Needs the machine's network, so it must not be called in a sandbox.

    Raises:
        CannotError: it cannot be had, or does not start here.
    """
    there = installed(cache)
    if there:
        tell(Event("", "fetch", f"pound {there.version}: is there already"))
        return there
    with store.opened(cache or cache_directory(), NEEDED_MIB, tell) as work:
        source, suite, version = _found(work, suites, tell)
        files, new = work / "files", work / "pound"
        for package, exact in (("pound", version), *_libraries(source, suite)):
            got = source.download(package, exact)
            tell(Event("", "fetch", f"unpacking {got.name}"))
            apt.unpack(got, files)
        new.mkdir()
        _lay_out(files, new)
        target = home(cache) / version
        problem = why_not_starting(new)
        if problem:
            raise CannotError(f"pound {version} of {suite}: does not start here: {problem}")
        place(new, target)
        return Installed(target)


def _found(work: Path, suites: Sequence[str], tell: Listener) -> tuple[PrivateApt, str, str]:
    """The first suite that can be had and has Pound: its state of apt, its name, and the
    version.
    """
    reasons = []
    for suite in suites:
        place = work / suite
        place.mkdir()
        try:
            source = Mirrors(place, tell).serving(suite)
        except CannotError as error:
            reasons.append(f"{suite}: {error}")
            continue
        offered = source.versions("pound", suite)
        if offered:
            return source, suite, apt.newest_version(offered)
        reasons.append(f"{suite} has none")
    raise CannotError(f"pound: no suite has it that can be had here: {'; '.join(reasons)}")


def _libraries(source: PrivateApt, suite: str) -> list[tuple[str, str]]:
    """The packages of `LIBRARIES` by this suite's names, with versions."""
    found = []
    for names in LIBRARIES:
        offered = {name: source.versions(name, suite) for name in names}
        name = next((name for name, versions in offered.items() if versions), None)
        if name:
            found.append((name, apt.newest_version(offered[name])))
    return found


def _lay_out(files: Path, new: Path) -> None:
    """The program, its loader and all libraries side by side, each library under the name that
    programs ask for.
    """
    program = next((each for each in files.glob("usr/sbin/pound") if each.is_file()), None)
    if program is None:
        raise CannotError("pound: its package has no /usr/sbin/pound; this version is not known to lvslab")
    shutil.copy2(program, new / "pound")
    for path in sorted(files.rglob("*.so.*")):
        if path.resolve().is_file():
            shutil.copy2(path.resolve(), new / path.name)
    loader = next(
        (each for each in sorted(files.rglob(_LOADER)) if each.is_file() and not each.is_symlink()), None
    )
    if loader is None:
        raise CannotError(
            "pound: its C library has no loader for this kind of machine; lvslab knows amd64 only"
        )
    shutil.copy2(loader, new / _LOADER)
    wanted = {"pound", _LOADER, *_needed(new)}
    for path in new.iterdir():
        if path.name not in wanted:
            path.unlink()
    notice = files / "usr/share/doc/pound/copyright"
    if notice.is_file():
        shutil.copy2(notice, new / "copyright")


def why_not_starting(directory: Path) -> str | None:
    """Why the Pound in a directory cannot even print its version, or None."""
    done = _run([*start(directory), "-V"])
    if done is None:
        return f"no answer within {_START_SECONDS:g} s"
    if done.returncode == 0:
        return None
    return next(iter((done.stderr + done.stdout).strip().splitlines()), f"ended with {done.returncode}")


def _needed(directory: Path) -> set[str]:
    """Names of the libraries that the loader takes from the directory (ld.so(8), --list)."""
    loader, *rest = start(directory)
    done = _run([loader, "--list", *rest])
    lines = done.stdout.splitlines() if done else []
    return {Path(word).name for line in lines for word in line.split() if word.startswith(f"{directory}/")}


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """A finished program; None when it did not end."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise CannotError(f"{command[0]}: cannot be started: {error.strerror or error}") from error
