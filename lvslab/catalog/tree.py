"""A kernel source tree, as a directory or as the archive of Debian's linux-source package; builds
work on a copy, never in the user's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lvslab.catalog.pace import Pace
from lvslab.errors import CannotError, UsageError
from lvslab.events import Event, Listener
from lvslab.host.linux import bound

_ARCHIVES = (".tar", ".tar.xz", ".tar.gz", ".tar.bz2", ".tar.zst", ".tgz", ".txz")
_BLOCK = 1 << 20
_TREE_BYTES = 1400 << 20  # of 6.1; an estimate for what is left of copying
_GIT_SECONDS = 30.0

_BUILT = ("*.o", "*.ko", "*.a", ".*.cmd", "./vmlinux", "./vmlinux.*", "./linux")
"""What a build leaves in a tree: not copied."""

_UNCLEAN = (
    ".config",
    "include/config",
    "include/generated",
    "arch/um/include/generated",
    "arch/x86/include/generated",
)
"""What must not be there when another configuration is built; `make mrproper` removes it."""


@dataclass(frozen=True)
class SourceTree:
    """A kernel's source.

    Attributes:
        path: a directory or an archive.
        version: as its Makefile says, for example "6.1.192"; of an archive "" until it is unpacked.
    """

    path: Path
    version: str

    @property
    def archived(self) -> bool:
        """Whether it must be unpacked."""
        return self.path.is_file()


def recognise(path: Path) -> SourceTree:
    """The tree at a path.

    Raises:
        UsageError: there is none.
    """
    if path.is_file():
        if not path.name.endswith(_ARCHIVES):
            raise UsageError(
                f"{path}: no kernel source; give a source tree's directory, or an archive such as"
                " linux-source-6.1.tar.xz"
            )
        return SourceTree(path.resolve(), "")
    if not path.is_dir():
        raise UsageError(
            f"{path}: not there; Debian has kernel source in packages: apt-get install linux-source-6.1"
        )
    archives = sorted(each.name for each in path.glob("linux-source-*.tar.*"))
    version = makefile_version(path)
    if version is None:
        hint = (
            f"; did you mean {path / archives[0]}?"
            if archives
            else "; it has no Makefile of the kernel's, or lacks Kconfig"
        )
        raise UsageError(f"{path}: no kernel source tree{hint}")
    if not (path / "arch" / "um").is_dir():
        raise UsageError(
            f"{path}: has no arch/um, so no User-Mode Linux can be built from it; give a whole tree"
        )
    return SourceTree(path.resolve(), version)


def makefile_version(tree: Path) -> str | None:
    """What a kernel's Makefile says about its version, or None if it is no kernel's."""
    try:
        with (tree / "Makefile").open(errors="replace") as file:
            head = file.read(4096)
    except OSError:
        return None
    fields: dict[str, str] = dict(
        re.findall(
            r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION)[ \t]*=[ \t]*(\S*)[ \t]*$", head, re.MULTILINE
        )
    )
    if not {"VERSION", "PATCHLEVEL"} <= fields.keys() or not (tree / "Kconfig").is_file():
        return None
    numbers = [
        fields["VERSION"],
        fields["PATCHLEVEL"],
        *([fields["SUBLEVEL"]] if fields.get("SUBLEVEL") else []),
    ]
    return ".".join(numbers) + fields.get("EXTRAVERSION", "")


def git_description(tree: Path) -> str | None:
    """`git describe` of a checkout, with "-dirty" where files differ from what was committed; None
    where git cannot say.

    Nothing in the tree is written: git may otherwise refresh its index.
    """
    if not (tree / ".git").exists() or not shutil.which("git"):
        return None
    base = ["git", "-c", "safe.directory=*", "-C", str(tree)]
    answers = []
    # Not `describe --dirty`: that writes the index, whatever GIT_OPTIONAL_LOCKS says.
    for words in (["describe", "--always", "--tags"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(
                [*base, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_GIT_SECONDS,
                check=False,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            )
        except subprocess.TimeoutExpired:
            return None
        if done.returncode != 0:
            return None
        answers.append(done.stdout.strip())
    name, changed = answers
    return f"{name}-dirty" if changed else name


def take_over(tree: SourceTree, target: Path, tell: Listener) -> str:
    """Copy or unpack a tree to a directory that does not exist yet.

    Returns:
        Its version.

    Raises:
        UsageError: the archive holds no kernel source, or is damaged.
        CannotError: it cannot be read, or the disk is full.
    """
    target.mkdir()
    if tree.archived:
        tell(Event("", "build", f"unpacking {tree.path.name}"))
        _unpack(tree.path, target, tell)
    else:
        tell(Event("", "build", f"copying {tree.path}, so that nothing is written there"))
        _copy(tree.path, target, tell)
    version = makefile_version(target)
    if version is None or not (target / "arch" / "um").is_dir():
        raise UsageError(f"{tree.path}: holds no whole kernel source tree")
    return version


def unclean(tree: Path) -> bool:
    """Whether a build of the user's has left something that another configuration must not see."""
    return any((tree / each).exists() for each in _UNCLEAN)


def _copy(source: Path, target: Path, tell: Listener) -> None:
    """A tree as it is at the end of the copy: files that somebody edits meanwhile are taken once
    more.

    Raises:
        CannotError: it cannot be read, or goes on changing.
    """
    began = int(time.time())
    _pass_on(source, target, tell, "--warning=no-file-changed", "--warning=no-file-removed")
    _pass_on(source, target, tell, f"--newer-mtime=@{began}")


def _pass_on(source: Path, target: Path, tell: Listener, *options: str) -> None:
    """Copy by tar through a pipe: it keeps times and links and leaves out what is named."""
    reading = [
        "tar",
        "--exclude-vcs",
        *(f"--exclude={each}" for each in _BUILT),
        *options,
        "-C",
        str(source),
        "-cf",
        "-",
        ".",
    ]
    with subprocess.Popen(bound(reading), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sender:
        assert sender.stdout and sender.stderr
        try:
            _feed(sender.stdout, _TREE_BYTES, ["tar", "-C", str(target), "-xf", "-"], source, tell)
        finally:
            sender.kill()
        said = sender.stderr.read().decode(errors="replace")
    if "changed as we read it" in said or "removed before we read it" in said:
        raise CannotError(
            f"{source}: goes on changing while it is copied; try again when nothing writes there"
        )
    if said:
        raise CannotError(f"{source}: cannot be read: {said.splitlines()[0]}")


def _unpack(archive: Path, target: Path, tell: Listener) -> None:
    compression = {".xz": "-J", "txz": "-J", ".gz": "-z", "tgz": "-z", "bz2": "-j", "zst": "--zstd"}.get(
        archive.name[-3:]
    )
    command = [
        "tar",
        "-C",
        str(target),
        "--strip-components=1",
        *([compression] if compression else []),
        "-xf",
        "-",
    ]
    with archive.open("rb") as file:
        _feed(file, archive.stat().st_size, command, archive, tell)


def _feed(data: IO[bytes], size: int, command: list[str], source: Path, tell: Listener) -> None:
    """Give data to a tar that unpacks it; that way it is known how far it is.

    Raises:
        UsageError: tar does not take it.
        CannotError: the disk is full.
    """
    pace, fed = Pace(), 0
    with subprocess.Popen(bound(command), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stderr
        try:
            while block := data.read(_BLOCK):
                process.stdin.write(block)
                fed += len(block)
                if said := pace.at(fed / size):
                    tell(Event("", "build", f"taking over {source.name}: {said}"))
            process.stdin.close()
        except BrokenPipeError:
            pass  # tar says why
        except BaseException:
            process.kill()
            raise
        text = process.stderr.read().decode(errors="replace")
        code = process.wait()
    _require_whole(source, code, text)


def _require_whole(source: Path, code: int, said: str) -> None:
    if code == 0:
        return
    if "No space left" in said or "quota" in said:
        raise CannotError(
            f"{source}: the disk is full while it is copied; free some space, or set XDG_CACHE_HOME to"
            " another disk"
        )
    lines = [line for line in said.splitlines() if line.strip()]
    raise UsageError(f"{source}: cannot be unpacked: {lines[0] if lines else f'tar ended with {code}'}")
