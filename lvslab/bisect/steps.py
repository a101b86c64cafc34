"""What was learnt of each commit: as data, and in a file from which a search goes on."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from lvslab.bisect.history import Commit, Mark
from lvslab.errors import CannotError, UsageError
from lvslab.runs.words import plural

LIVES = "the director lives"
"""Name among those of checks for what fails where the kernel dies."""

_FILE, _LOCK = "steps.json", "lock"


@dataclass(frozen=True)
class Symptoms:
    """What a kernel showed.

    Attributes:
        failed: names of the checks that failed; `LIVES` among them where the kernel died.
        unbuilt: why there is no kernel to judge; "" where there is one.
        reason: of the first failure, for people.
        run: the run directory, "" where nothing ran.
    """

    failed: frozenset[str] = frozenset()
    unbuilt: str = ""
    reason: str = ""
    run: str = ""


@dataclass(frozen=True)
class Step:
    """A commit that was judged."""

    commit: Commit
    symptoms: Symptoms
    mark: Mark

    def __str__(self) -> str:
        why = self.symptoms.unbuilt or self.symptoms.reason
        return f"{self.commit}: {self.mark}{f': {why}' if why else ''}"


def judge(symptoms: Symptoms, wanted: frozenset[str]) -> Mark:
    """Bad is a commit that fails in one of the ways of the bad end; another fault says nothing of
    this one, nor does a tree that does not build.

    Args:
        wanted: what failed at the bad end.
    """
    if symptoms.unbuilt:
        return Mark.SKIP
    if symptoms.failed & wanted:
        return Mark.BAD
    return Mark.SKIP if LIVES in symptoms.failed else Mark.GOOD


def why_of(failed: Sequence[tuple[str, str]]) -> str:
    """The first of some failures, (check, reason), and how many more there are."""
    if not failed:
        return ""
    name, reason = failed[0]
    more = len(failed) - 1
    return f"{name}: {reason}" + (f" (and {plural(more, 'more check')})" if more else "")


def read(folder: Path) -> dict[str, Symptoms]:
    """What an earlier search in a folder has learnt, by hash; nothing where there was none.

    Raises:
        UsageError: its file is damaged.
    """
    file = folder / _FILE
    try:
        return {
            step["commit"]["hash"]: Symptoms(
                **{**step["symptoms"], "failed": frozenset(step["symptoms"]["failed"])}
            )
            for step in json.loads(file.read_text())["steps"]
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: damaged ({error}); remove it, and the search begins anew") from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """A search has its folder for itself; the kernel lets go of it however this process ends.

    Raises:
        CannotError: another one works there.
    """
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotError(f"{folder}: another bisect works there; wait until it has ended") from None
        yield


def write(folder: Path, steps: Iterable[Step]) -> None:
    """Keep what was learnt: written aside and renamed, for the search can be killed at any time."""
    text = json.dumps({"steps": [to_json(step) for step in steps]}, indent=1)
    aside = folder / f"{_FILE}.new"
    aside.write_text(f"{text}\n")
    aside.rename(folder / _FILE)


def to_json(step: Step) -> dict[str, object]:
    """A step for programs."""
    return {
        "commit": asdict(step.commit),
        "mark": str(step.mark),
        "symptoms": {**asdict(step.symptoms), "failed": sorted(step.symptoms.failed)},
    }
