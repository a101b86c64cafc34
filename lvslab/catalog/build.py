"""Builds a small User-Mode Linux kernel from a source tree: tinyconfig, what a guest needs, what
labs use, and the user's own options.

The tree is copied first: nothing is written into the user's, and a build always happens at the same
path, so that ccache knows its objects again. Whoever calls this should run in a sandbox, which
takes every compiler along when it ends, in whatever way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvslab.catalog import configure, stock, store, tree
from lvslab.catalog.catalog import CatalogEntry, entries, entry_directory
from lvslab.catalog.names import LocalName
from lvslab.catalog.pace import Pace
from lvslab.catalog.store import Candidate
from lvslab.catalog.tree import SourceTree
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.events import Event, Listener, nobody
from lvslab.host import linux
from lvslab.host.distribution import advice
from lvslab.host.linux import bound
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.machine import Kernel
from lvslab.kernels.uml import UmlKernel
from lvslab.kernels.virtual_time import SEED_LIBRARY, VirtualTimeKernel, compile_seed_library

NEEDED_MIB = 3000
"""Room that a build takes at most: a copy of the tree (of 6.1 1.4 GiB), objects, the kernel."""

TOOLS: Mapping[str, str] = {
    "make": "make",
    "gcc": "gcc",
    "ld": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "tar": "tar",
    "xz": "xz-utils",
    "depmod": "kmod",
}
"""Programs that a build runs → the Debian package of each (Documentation/process/changes.rst names
most).
"""

_LINES = 1700
"""Lines that make prints for 6.1 with lvslab's options, until a build here has shown how many."""

_LOG = "build.log"
_LAST_LINES = 12


@dataclass(frozen=True)
class BuildRequest:
    """What is to be built.

    Attributes:
        source: the tree.
        fragment: options of the user's on top of lvslab's; they win.
        fragment_path: where they come from, or None.
        name: in the catalog; by default the kernel's release.
        virtual_time: for simulated worlds, instead of labs on the real clock.
    """

    source: SourceTree
    fragment: Mapping[str, str]
    fragment_path: Path | None = None
    name: LocalName | None = None
    virtual_time: bool = False

    @property
    def needed(self) -> dict[str, str]:
        """Options without which the kernel is no guest."""
        guest = configure.shipped("guest")
        if not self.virtual_time:
            return guest
        return {**configure.built_in(guest), **configure.shipped("virtual-time")}

    @property
    def wished(self) -> dict[str, str]:
        """Options that labs use."""
        features = configure.shipped("features")
        if not self.virtual_time:
            return features
        contrary = configure.shipped("virtual-time")
        return {
            option: value for option, value in configure.built_in(features).items() if option not in contrary
        }

    @property
    def kind(self) -> type[Kernel]:
        """What will come of it."""
        return VirtualTimeKernel if self.virtual_time else UmlKernel

    def name_for(self, release: str) -> LocalName:
        """The user's, or one by the release."""
        return self.name or LocalName.parse(f"{release}-vt" if self.virtual_time else release)


def prepare(
    path: Path, fragment: Path | None = None, name: str | None = None, virtual_time: bool = False
) -> BuildRequest:
    """Look at everything that the user gave, and at the tools; nothing is started or written.

    Raises:
        UsageError: no source tree, a fragment that is none, one that takes away what a guest needs,
            or a bad name.
        CannotError: a tool is missing; names the packages.
    """
    source = tree.recognise(path)
    local = LocalName.parse(name) if name is not None else None
    request = BuildRequest(source, {}, fragment, local, virtual_time)
    options: dict[str, str] = {}
    if fragment is not None:
        try:
            options = configure.parse(fragment.read_text(), str(fragment))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{fragment}: cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
        needed = request.needed
        contrary = configure.unmet(needed, {**needed, **options})
        if contrary:
            raise UsageError(
                f"{fragment}: a guest of lvslab needs"
                f" {', '.join(f'CONFIG_{each.option}' for each in contrary)}"
            )
    require_tools()
    return replace(request, fragment=options)


def require_tools(path: str | None = None) -> None:
    """Refuse to start without the tools of a build.

    Args:
        path: where to look, as $PATH; for tests.

    Raises:
        CannotError: names those that are missing, and the command that installs them.
    """
    where = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin" if path is None else path
    missing = [program for program in TOOLS if not shutil.which(program, path=where)]
    packages = [TOOLS[program] for program in missing]
    if not Path("/usr/include/stdio.h").exists():
        missing.append("the C library's headers")
        packages.append("libc6-dev")
    if missing:
        raise CannotError(f"building a kernel: {', '.join(missing)} not found; {advice(*packages)}")


def build(request: BuildRequest, cache: Path | None = None, tell: Listener = nobody) -> CatalogEntry:
    """Build a kernel, boot it once, and put it into the catalog as `local/NAME`; one of that name
    is replaced.

    Args:
        cache: by default `cache.cache_directory()`.
        tell: takes progress.

    Raises:
        UsageError: the tree cannot give what the user's fragment or a guest needs, or an archive
            holds no tree.
        CannotError: no room, or something that the trial boot needs is missing.
        LabError: the compiler failed; the log is kept in the cache.
        GuestError: the new kernel does not boot; it is kept aside.
    """
    cache = cache or cache_directory()
    with store.opened(cache, NEEDED_MIB, tell) as work:
        return _Build(request, cache, work, tell).run()


def make_command(*targets: str, jobs: int, ccache: bool) -> list[str]:
    """How make is called, in the tree."""
    compiler = "ccache gcc" if ccache else "gcc"
    return ["make", "ARCH=um", f"CC={compiler}", f"HOSTCC={compiler}", f"-j{jobs}", *targets]


def last_lines(log: Sequence[str], count: int = _LAST_LINES) -> list[str]:
    """What to show of a failed build: from the compiler's first error on, or else the end."""
    first = next(
        (number for number, line in enumerate(log) if "error:" in line or "undefined reference" in line), None
    )
    return list(log[first : first + count] if first is not None else log[-count:])


class _Build:
    """One build, in a working directory that is thrown away."""

    def __init__(self, request: BuildRequest, cache: Path, work: Path, tell: Listener) -> None:
        self._request, self._cache, self._work, self._tell = request, cache, work, tell
        self._source, self._log = work / "source", work / _LOG
        self._ccache = shutil.which("ccache") is not None
        self._jobs = len(os.sched_getaffinity(0))
        self._printed = 0

    def run(self) -> CatalogEntry:
        began = time.monotonic()
        version = tree.take_over(self._request.source, self._source, self._tell)
        without = self._configure(version)
        taken_over = time.monotonic()
        self._compile(version)
        compiled = time.monotonic()
        new = self._work / "entry"
        release = self._lay_out(new)
        name = self._request.name_for(release)
        target = entry_directory(self._cache, name)
        if target.exists():
            self._tell(Event("", "build", f"{name}: there is one already; it will be replaced"))
        source, git = self._request.source, tree.git_description(self._request.source.path)
        details: dict[str, Any] = {
            "tree": str(source.path),
            "git": git,
            "fragment": dict(self._request.fragment),
            "without": {each.option: each.reason for each in without},
            "ccache": self._ccache,
            "jobs": self._jobs,
            "make_lines": self._printed,
            "prepare_seconds": round(taken_over - began, 1),
            "make_seconds": round(compiled - taken_over, 1),
        }
        origin = f"built from {source.path}" + (f" ({git})" if git else "")
        candidate = Candidate(str(name), "", new, target, origin, None, details, costly=True)
        return store.admit(candidate, self._cache, self._tell)

    # -- configuration -----------------------------------------------------------------------------

    def _configure(self, version: str) -> list[configure.Unmet]:
        """Write .config, and compare what came out; returns what the tree lacks of
        lvslab's wishes.
        """
        if tree.unclean(self._source):
            self._make("cleaning the copy", "mrproper")
        self._make("configuring", "tinyconfig")
        config = self._source / ".config"
        tiny = configure.parse(config.read_text(), "tinyconfig")
        guest, features, own = self._request.needed, self._request.wished, self._request.fragment
        config.write_text(configure.text(tiny, features, guest, own))
        self._make("configuring", "olddefconfig")
        got = configure.parse(config.read_text(), ".config")

        def lacking(asked: Mapping[str, str]) -> list[configure.Unmet]:
            return configure.explained(configure.unmet(asked, got), self._source, got)

        for problems, who in (
            (lacking(guest), f"a guest of lvslab{' in virtual time' * self._request.virtual_time}"),
            (lacking(own), f"{self._request.fragment_path}"),
        ):
            if problems:
                raise UsageError(
                    f"{self._request.source.path}: Linux {version} does not give what {who} needs:"
                    f" {_listed(problems)}"
                )
        without = lacking({option: value for option, value in features.items() if option not in own})
        for each in without:
            self._tell(Event("", "note", f"without {each}"))
        return without

    # -- make --------------------------------------------------------------------------------------

    def _compile(self, version: str) -> None:
        known = [
            entry.details.get("make_lines")
            for entry in sorted(entries(self._cache), key=lambda each: each.fetched)
        ]
        expected = next((lines for lines in reversed(known) if lines), _LINES)
        with_ccache = ", with ccache" if self._ccache else ""
        self._tell(Event("", "build", f"compiling Linux {version} on {self._jobs} processors{with_ccache}"))
        pace, printed = Pace(0.05), 0

        def hear(line: str) -> None:
            nonlocal printed
            printed += 1
            if said := pace.at(printed / expected):
                self._tell(Event("", "build", f"compiling Linux {version}: {said}"))

        self._printed = self._make("compiling", hear=hear)

    def _make(self, what: str, *targets: str, hear: Callable[[str], None] = lambda line: None) -> int:
        """Run make in the tree; returns how many lines it printed.

        Raises:
            LabError: it failed.
        """
        command = bound(make_command(*targets, jobs=self._jobs, ccache=self._ccache))
        environment = {
            key: value
            for key, value in os.environ.items()
            if key not in ("ARCH", "SUBARCH", "MAKEFLAGS", "KBUILD_OUTPUT")
        }
        lines, seen = 0, deque[str](maxlen=2000)
        with (
            self._log.open("a", buffering=1) as log,
            subprocess.Popen(
                command,
                cwd=self._source,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**environment, "LC_ALL": "C.UTF-8", "KCONFIG_NOTIMESTAMP": "1"},
                start_new_session=True,
            ) as process,
        ):
            assert process.stdout
            try:
                for line in process.stdout:
                    lines += 1
                    log.write(line)
                    seen.append(line.rstrip())
                    hear(line)
                code = process.wait()
            finally:
                # Make's own process is the group's leader: no compiler outlives an interruption.
                if process.poll() is None:
                    linux.kill_group(process.pid)
        if code != 0:
            kept = self._cache / _LOG
            shutil.copyfile(self._log, kept)
            raise LabError(
                "\n    ".join(
                    [
                        f"{what} {self._request.source.path}: make failed (log: {kept}):",
                        *last_lines(list(seen)),
                    ]
                )
            )
        return lines

    # -- result ------------------------------------------------------------------------------------

    def _lay_out(self, new: Path) -> str:
        """The program, its modules and its configuration in the shape of an entry; returns the
        release.
        """
        release = (self._source / "include/config/kernel.release").read_text().strip()
        staged = self._work / "staged"
        self._tell(Event("", "build", f"{release}: installing its modules"))
        self._make(
            "installing modules of",
            "modules_install",
            f"INSTALL_MOD_PATH={staged}",
            "INSTALL_MOD_STRIP=1",
            "DEPMOD=true",
        )
        modules = staged / "lib/modules" / release
        for link in ("build", "source"):
            (modules / link).unlink(missing_ok=True)
        (new / "modules").mkdir(parents=True)
        (self._source / "linux").rename(new / self._request.kind.file_names[0])
        if self._request.virtual_time:
            compile_seed_library(new / SEED_LIBRARY)
        (self._source / ".config").rename(new / "config")
        modules.rename(new / "modules" / release)
        stock.depmod(new / "modules" / release)
        shutil.copyfile(self._source / "COPYING", new / "copyright")
        return release


def _listed(problems: Sequence[configure.Unmet]) -> str:
    return "; ".join(map(str, problems))
