"""The kernel source of a suite of Debian's: the archive in its package linux-source-X.Y, with
Debian's patches in it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from lvslab.catalog.debian import apt
from lvslab.catalog.debian.mirror import Mirrors
from lvslab.catalog.debian.names import SOURCE
from lvslab.errors import CannotError, UsageError
from lvslab.events import Event, Listener

HOW = f"{SOURCE}/SUITE"
_META = "linux-source"
_NAME = re.compile(rf"{SOURCE}/([a-z][a-z0-9-]*)")
_ARCHIVES = "usr/src/linux-source-*.tar.*"


def suite_of(text: str) -> str | None:
    """The suite whose source is meant, or None where a path is."""
    name = _NAME.fullmatch(text)
    return name[1] if name and not Path(text).exists() else None


def archive(suite: str, cache: Path, tell: Listener) -> Path:
    """The newest source in a suite, fetched once: below the cache, in `sources/`.

    Needs the machine's network, so it must not be called in a sandbox.

    Raises:
        UsageError: the suite has none.
        CannotError: it cannot be had.
    """
    sources = cache / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=sources) as directory:
        work = Path(directory)
        packages = Mirrors(work, tell).serving(suite)
        metas = packages.versions(_META, suite)
        if not metas:
            raise UsageError(f"{SOURCE}/{suite}: has no package {_META}; take another suite, or give a tree")
        depends = packages.depends(_META, apt.newest_version(metas))
        package, version = next(
            (each for each in depends.items() if each[0].startswith(f"{_META}-")), ("", "")
        )
        if not package:
            raise CannotError(f"{SOURCE}/{suite}: its {_META} names no source; it is not known to lvslab")
        kept = next(iter(sources.glob(f"{package}_{version}.tar.*")), None)
        if kept is not None:
            tell(Event("", "fetch", f"{kept.name}: is there already"))
            return kept
        files = work / "files"
        apt.unpack(packages.download(package, version), files)
        unpacked = sorted(files.glob(_ARCHIVES))
        if len(unpacked) != 1:
            raise CannotError(f"{package} {version}: holds no archive of a kernel; it is not known to lvslab")
        suffix = unpacked[0].name.partition(".tar")[2]
        target = sources / f"{package}_{version}.tar{suffix}"
        shutil.move(unpacked[0], target)
        return target
