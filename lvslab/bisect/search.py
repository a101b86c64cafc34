"""The search: the bad end is shown to be bad, git halves, and the answer rests on a commit that was
seen to be good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lvslab.bisect import steps
from lvslab.bisect.history import Commit, History, Mark, Range
from lvslab.bisect.steps import Step, Symptoms
from lvslab.errors import CannotError
from lvslab.events import Event, Listener

Examine = Callable[[Path, Commit, frozenset[str] | None], Symptoms]
"""Builds the kernel in a directory and tries it; with names, by these checks alone."""


@dataclass(frozen=True)
class Found:
    """The answer.

    Attributes:
        candidates: the first bad commit; several where those between could not be judged.
        steps: every commit that was judged, in that order.
        wanted: what failed at the bad end.
    """

    candidates: tuple[Commit, ...]
    steps: tuple[Step, ...]
    wanted: frozenset[str]


def search(searched: Range, folder: Path, examine: Examine, tell: Listener) -> Found:
    """Find the first bad commit.

    What an earlier search in the folder has learnt is not tried again.

    Args:
        folder: keeps what is learnt, and the clone while it is needed.

    Raises:
        UsageError: what was learnt in the folder cannot be read.
        CannotError: the bad end shows no fault, or the good end the same, so that there is nothing
            to find; or another search works in the folder.
    """
    with steps.held(folder):
        return _search(searched, folder, examine, tell)


def _search(searched: Range, folder: Path, examine: Examine, tell: Listener) -> Found:
    known, taken = steps.read(folder), list[Step]()

    def look(history: History, commit: Commit, wanted: frozenset[str] | None) -> Step:
        history.check_out(commit)
        kept = known.get(commit.hash)
        symptoms = kept or examine(history.place, commit, wanted)
        step = Step(commit, symptoms, steps.judge(symptoms, symptoms.failed if wanted is None else wanted))
        taken.append(step)
        steps.write(folder, taken)
        told = " (judged before)" if kept else ""
        tell(Event("", "verdict", f"[{len(taken)} of about {searched.halvings + 1}] {step}{told}"))
        return step

    with History(searched, folder / "source") as history:
        bad = look(history, searched.bad, None)
        if bad.mark is not Mark.BAD:
            shown = bad.symptoms.unbuilt or "every check holds there"
            raise CannotError(f"--bad {searched.bad}: {shown}; there is no fault to look for")
        wanted = bad.symptoms.failed
        there = history.start()
        # Each turn takes at least one commit away: the loop is as long as the history at most.
        for _ in range(searched.commits):
            if not isinstance(there, Commit):
                break
            there = history.mark(look(history, there, wanted).mark)
        assert not isinstance(there, Commit)
        if not any(step.mark is Mark.GOOD for step in taken):
            good = look(history, searched.good, wanted)
            if good.mark is not Mark.GOOD:
                shown = good.symptoms.unbuilt or good.symptoms.reason
                raise CannotError(f"--good {searched.good}: {shown}; it is not good, give an older one")
    return Found(tuple(there), tuple(taken), wanted)
