"""The commits between a good and a bad kernel, halved by git itself in a clone of its own: the
user's checkout, its branch and its index stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

from lvslab.errors import CannotError, LabError, UsageError
from lvslab.host.distribution import advice

_SECONDS = 600.0
_FIRST_BAD = re.compile(r"^([0-9a-f]{40,64}) is the first bad commit$", re.MULTILINE)
_ONLY_SKIPPED = re.compile(r"^There are only 'skip'ped commits left to test\.$", re.MULTILINE)
_HASH = re.compile(r"^([0-9a-f]{40,64})$", re.MULTILINE)


class Mark(StrEnum):
    """What git is told of a commit, in its own words (git-bisect(1))."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


@dataclass(frozen=True)
class Commit:
    """A commit by its full hash, and the first line of its message."""

    hash: str
    subject: str

    def __str__(self) -> str:
        return f"{self.hash[:12]} ({self.subject})"


@dataclass(frozen=True)
class Range:
    """What is searched.

    Attributes:
        tree: the user's checkout.
        good, bad: the ends; `good` is an ancestor of `bad`.
        commits: how many could be the first bad one, `bad` included.
    """

    tree: Path
    good: Commit
    bad: Commit
    commits: int

    @property
    def halvings(self) -> int:
        """Commits that are judged at most, without the ends, where none must be skipped."""
        return (self.commits - 1).bit_length()


def range_of(tree: Path, good: str, bad: str) -> Range:
    """Look both ends up; nothing is written.

    Raises:
        UsageError: no checkout, a revision that it does not know, or no way from one to the other.
        CannotError: git is not installed.
    """
    if not shutil.which("git"):
        raise CannotError(f"bisect: git not found; {advice('git')}")
    if _git(tree, "rev-parse", "--git-dir").returncode != 0:
        raise UsageError(f"{tree}: no git checkout; bisect needs a kernel's history")
    first, last = _commit(tree, "good", good), _commit(tree, "bad", bad)
    if first == last:
        raise UsageError(f"--good {good} and --bad {bad} are one commit: {first}")
    if _git(tree, "merge-base", "--is-ancestor", first.hash, last.hash).returncode != 0:
        raise UsageError(
            f"--good {good}: no ancestor of --bad {bad}; give one, such as: git merge-base {good} {bad}"
        )
    count = _git(tree, "rev-list", "--count", f"{first.hash}..{last.hash}")
    return Range(tree.resolve(), first, last, int(_said(count, "rev-list")))


class History:
    """A search in a clone that shares the user's objects; a context manager that removes it.

    Attributes:
        place: the clone's files, as of the commit that `check_out` or the search chose last.
    """

    def __init__(self, searched: Range, place: Path) -> None:
        """Make the clone; its files come with the first commit.

        Raises:
            LabError: git failed; its words are in the message.
        """
        self.place, self._range = place, searched
        shutil.rmtree(place, ignore_errors=True)
        clone = ("clone", "--quiet", "--shared", "--no-checkout", str(searched.tree), str(place))
        _said(_git(searched.tree, *clone), "clone")

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.place, ignore_errors=True)

    def check_out(self, commit: Commit) -> None:
        """Make the files those of a commit."""
        self._run("checkout", "--quiet", "--force", "--detach", commit.hash)

    def start(self) -> Commit | list[Commit]:
        """Begin to halve; returns as `mark` does."""
        return self._next(self._run("bisect", "start", self._range.bad.hash, self._range.good.hash))

    def mark(self, mark: Mark) -> Commit | list[Commit]:
        """Tell what the commit that is checked out is.

        Returns:
            The commit to judge next, which is checked out; or, at the end, those of which one is
            the first bad commit: exactly one unless commits were skipped.
        """
        done = _git(self.place, "bisect", str(mark))
        # With only skipped commits left git ends with 2, its answer on the standard output.
        if done.returncode not in (0, 2):
            _said(done, f"bisect {mark}")
        return self._next(done.stdout)

    def _next(self, said: str) -> Commit | list[Commit]:
        if found := _FIRST_BAD.search(said):
            return [_commit(self.place, "bad", found[1])]
        if _ONLY_SKIPPED.search(said):
            return [_commit(self.place, "bad", each) for each in _HASH.findall(said)]
        return _commit(self.place, "next", "HEAD")

    def _run(self, *words: str) -> str:
        return _said(_git(self.place, *words), words[0])


def _commit(tree: Path, what: str, revision: str) -> Commit:
    done = _git(tree, "log", "-1", "--format=%H %s", "--end-of-options", f"{revision}^{{commit}}", "--")
    if done.returncode != 0:
        raise UsageError(f"--{what} {revision}: no commit of {tree}")
    name, _, subject = done.stdout.strip().partition(" ")
    return Commit(name, subject)


def _said(done: subprocess.CompletedProcess[str], what: str) -> str:
    """Raises: LabError: git failed."""
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"git {what}: {lines[0] if lines else f'ended with {done.returncode}'}")
    return done.stdout.strip()


def _git(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Git's answer, in English, whoever owns the tree, untouched by the user's hooks.

    Raises:
        UsageError: the tree cannot be entered.
        LabError: git did not end.
    """
    command = ["git", "-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-C", str(tree), *words]
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C", "GIT_OPTIONAL_LOCKS": "0"},
        )
    except OSError as error:
        raise UsageError(f"{tree}: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise LabError(f"git {words[0]}: did not end within {_SECONDS:g} s in {tree}") from None
