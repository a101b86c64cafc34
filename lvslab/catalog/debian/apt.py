"""Debian packages without installing them: apt's own tools with a state of their own, on the mirror
that this machine is set up for.

The machine's configuration stays in force for proxies and credentials; its hooks, pins and further
sources do not. Signatures are always checked, with Debian's keys. Nothing outside the given
directory is written, so any user may do this.
"""

from __future__ import annotations

import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from lvslab.catalog.debian.apt_output import (
    debian_mirrors,
    explain,
    parse_depends,
    parse_madison,
    parse_sources,
    parse_status,
)
from lvslab.catalog.pace import Pace
from lvslab.errors import CannotError
from lvslab.events import Event, Listener
from lvslab.host.distribution import advice
from lvslab.host.linux import bound

KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),  # its name since 2025
)

_UPDATE_SECONDS = 180.0
_DOWNLOAD_SECONDS = 900.0
_UNPACK_SECONDS = 180.0
_STEP = 0.1

_CONFIGURATION = """\
Dir::State "{home}/state";
Dir::State::status "{home}/status";
Dir::Cache "{home}/cache";
Dir::Etc::sourcelist "{home}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
// The private directory may lie where the user _apt cannot reach.
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
// Hooks of this machine refresh its own catalogs.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def machine_mirrors() -> list[str]:
    """Mirrors of Debian that this machine's apt is set up for; apt itself reads its sources, of
    both formats.

    Raises:
        CannotError: apt is not there, or knows no Debian mirror.
    """
    shown = _answer(
        ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"]
    )
    sources = parse_sources(shown)
    mirrors = debian_mirrors(sources, os_release().get("VERSION_CODENAME"))
    if not mirrors:
        known = ", ".join(f"{source.uri} {source.suite}" for source in sources) or "none at all"
        raise CannotError(
            f"apt: no Debian mirror among this machine's sources ({known}); add one, see sources.list(5), for"
            " example in /etc/apt/sources.list.d/debian.sources"
        )
    return mirrors


def os_release() -> Mapping[str, str]:
    """This machine's os-release(5), when it is Debian; otherwise nothing."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    fields = {key: value.strip("\"'") for key, mark, value in (line.partition("=") for line in lines) if mark}
    return fields if fields.get("ID") == "debian" else {}


def machine_keyring() -> Path:
    """Debian's keys as this machine has them.

    Raises:
        CannotError: it has none.
    """
    for path in KEYRINGS:
        if path.exists():
            return path
    raise CannotError(
        f"{KEYRINGS[0]}: not there, signatures cannot be checked; {advice('debian-archive-keyring')}"
    )


def newest_version(versions: Iterable[str]) -> str:
    """The newest by Debian's order of versions.

    Raises:
        CannotError: dpkg is not there.
    """
    best = ""
    for version in versions:
        if not best or _run(["dpkg", "--compare-versions", version, "gt", best], 20).returncode == 0:
            best = version
    return best


class PrivateApt:
    """apt for some suites of one mirror, with everything that it keeps in one directory."""

    def __init__(self, home: Path, mirror: str, suites: Sequence[str], keyring: Path, tell: Listener) -> None:
        """`home` must not exist yet; nothing is fetched before `update`."""
        self._home, self._mirror, self._suites, self._tell = home, mirror, suites, tell
        for name in ("state/lists/partial", "cache/archives/partial", "packages"):
            (home / name).mkdir(parents=True)
        (home / "status").touch()
        (home / "apt.conf").write_text(_CONFIGURATION.format(home=home))
        lines = [f"deb [target=Packages signed-by={keyring}] {mirror} {suite} main\n" for suite in suites]
        (home / "sources.list").write_text("".join(lines))

    def update(self) -> None:
        """Get the suites' lists of packages and check their signatures.

        Raises:
            UntrustedError, SuiteError, CannotError: they cannot be had.
        """
        self._get(["update"], f"suite {', '.join(self._suites)}", _UPDATE_SECONDS)

    def versions(self, package: str, suite: str) -> list[str]:
        """The versions of a package that a suite offers."""
        shown = _answer(["apt-cache", "-c", str(self._home / "apt.conf"), "madison", package])
        return parse_madison(shown, package, suite)

    def depends(self, package: str, version: str) -> dict[str, str]:
        """What a version of a package depends on in an exact version: the packages, each with that
        version.
        """
        shown = _answer(["apt-cache", "-c", str(self._home / "apt.conf"), "show", f"{package}={version}"])
        return parse_depends(shown)

    def download(self, package: str, version: str) -> Path:
        """Get one package, checked against the signed list; returns the file.

        Raises:
            CannotError: it cannot be had.
        """
        there = set((self._home / "packages").iterdir())
        self._get(["download", f"{package}={version}"], f"{package} {version}", _DOWNLOAD_SECONDS)
        (got,) = set((self._home / "packages").iterdir()) - there
        return got

    def _get(self, action: Sequence[str], what: str, seconds: float) -> None:
        """Run apt-get, telling how far it is."""
        self._tell(Event("", "fetch", f"{what} from {self._mirror}"))
        reading, writing = os.pipe()
        log = self._home / "apt.log"
        command = [
            "apt-get",
            "-q",
            "-c",
            str(self._home / "apt.conf"),
            "-o",
            f"APT::Status-Fd={writing}",
            *action,
        ]
        try:
            with log.open("wb") as out:
                process = _start(command, output=out, pass_fds=(writing,), cwd=self._home / "packages")
        finally:
            os.close(writing)
        try:
            _follow(reading, time.monotonic() + seconds, self._progress(what))
            code = process.wait(timeout=10)
        except TimeoutError:
            raise CannotError(
                f"{what}: not there after {seconds:g} s from {self._mirror}; try again, or a nearer mirror"
            ) from None
        finally:
            os.close(reading)
            if process.poll() is None:
                process.kill()
            process.wait()
        if code != 0:
            raise explain(log.read_text(errors="replace"), what, self._mirror)

    def _progress(self, what: str) -> Callable[[str], None]:
        """Takes lines of apt's status descriptor; tells one event every few percent."""
        pace = Pace(_STEP)

        def hear(line: str) -> None:
            percent = parse_status(line)
            said = pace.at(percent / 100) if percent else None
            if said:
                self._tell(Event("", "fetch", f"{what}: {said}"))

        return hear


def unpack(package: Path, where: Path) -> None:
    """Unpack a package's files; none of its scripts is run.

    Raises:
        CannotError: it is damaged, or the disk is full.
    """
    done = _run(["dpkg", "-x", str(package), str(where)], _UNPACK_SECONDS)
    if done.returncode != 0:
        raise explain(done.stderr + done.stdout, package.name, "this machine")


def _follow(descriptor: int, deadline: float, hear: Callable[[str], None]) -> None:
    """Pass on lines until the other side closes.

    Raises:
        TimeoutError: the deadline, on the clock of `time.monotonic`, came first.
    """
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            data = os.read(descriptor, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                hear(line.decode(errors="replace"))
    raise TimeoutError


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def _start(
    command: Sequence[str], *, output: IO[bytes], pass_fds: Sequence[int], cwd: Path
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process, also when this one is killed: it must not write
    where a later fetch cleans up.
    """
    _require(command[0])
    return subprocess.Popen(
        bound(command),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=pass_fds,
        cwd=cwd,
        env=_environment(),
    )


def _run(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    _require(command[0])
    try:
        return subprocess.run(
            bound(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env=_environment(),
        )
    except subprocess.TimeoutExpired:
        raise CannotError(f"{command[0]}: no answer within {seconds:g} s to: {' '.join(command)}") from None


def _answer(command: Sequence[str]) -> str:
    done = _run(command, 60)
    if done.returncode != 0:
        raise explain(done.stderr + done.stdout, command[0], "this machine")
    return done.stdout


def _require(program: str) -> None:
    path = _environment()["PATH"]
    missing = [name for name in ("setpriv", program) if not shutil.which(name, path=path)]
    if missing:
        raise CannotError(
            f"{missing[0]}: not installed; kernels can be fetched on Debian and its derivatives only"
        )
