"""A rehearsal whose answers become a run directory with a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvslab.events import Event, Listener
from lvslab.rehearse.answering import rehearse
from lvslab.rehearse.changing import rehearse_change
from lvslab.rehearse.deaths import Wish
from lvslab.rehearse.director import Director
from lvslab.rehearse.seats import Speaks
from lvslab.rehearse.stage import Stage
from lvslab.rehearse.updating import rehearse_update
from lvslab.report.rehearsal import write_page
from lvslab.runs.codec import to_json
from lvslab.runs.records import Result
from lvslab.runs.rehearsal import ANSWERS, Answers, Change
from lvslab.runs.writer import RunWriter


@dataclass(frozen=True)
class Recorded:
    """A finished rehearsal.

    Attributes:
        run: its run directory.
        page: for people.
        answers: to the files, or to their change.
    """

    run: Path
    page: Path
    answers: Answers | Change

    @property
    def failed(self) -> bool:
        """Whether anything is not as the files want it, or is worse than before the change."""
        return bool(self.answers.worse) if isinstance(self.answers, Change) else self.answers.failed

    def as_json(self) -> dict[str, Any]:
        worse = {"worse": list(self.answers.worse)} if isinstance(self.answers, Change) else {}
        return {"failed": self.failed, **worse, **to_json(self.answers)}


def record(
    stage: Stage,
    wish: Wish,
    speaks: Speaks,
    runs: Path,
    command: Sequence[str],
    listener: Listener,
    against: Sequence[Director] | Stage = (),
) -> Recorded:
    """Rehearse, and keep everything.

    Args:
        runs: where run directories go.
        command: the files that were given.
        against: the same directors with new files, to be reloaded; or the stage of another kernel.

    Raises:
        LabError: the lab broke; the run directory is kept, and says so.
    """
    with RunWriter(runs, "rehearse", kind="rehearse", command=("lvslab", "rehearse", *command)) as run:

        def tell(event: Event) -> None:
            run.add_event(event.lab, event.kind, event.text, t=event.t)
            listener(event)

        logs = run.logs / stage.lab.name
        logs.mkdir()
        _keep(run.path / "files", stage.directors)
        answers: Answers | Change
        if isinstance(against, Stage):
            answers = rehearse_update(stage, against, wish, logs, speaks, tell)
            found = change_results(answers)
        elif against:
            _keep(run.path / "against", against)
            answers = rehearse_change(stage, against, wish, logs, speaks, tell)
            found = change_results(answers)
        else:
            answers = rehearse(stage, wish, logs, speaks, tell)
            found = results(answers)
        (run.path / ANSWERS).write_text(json.dumps(to_json(answers), indent=1) + "\n")
        run.add_results(found)
    return Recorded(run.path, write_page(run.path, answers), answers)


def _keep(folder: Path, directors: Sequence[Director]) -> None:
    """Copies of the files, by director and name."""
    for director in directors:
        for path, text in director.files.items():
            kept = folder / director.name / Path(path).name
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(text)


def change_results(change: Change) -> list[Result]:
    """A change's verdicts: one of the change, then those of what is new."""
    worse = change.worse
    reason = "; ".join(worse) or f"in nothing worse than with the old {change.of}"
    return [Result("change", "fail" if worse else "pass", reason), *results(change.new)]


def results(answers: Answers) -> list[Result]:
    """The answers as verdicts of a run."""
    found = [
        Result(
            "table",
            "fail" if answers.differences else "pass",
            "; ".join(answers.differences) or "every table is what the files say",
        )
    ]
    found += [
        Result(f"served: {proof.door}", "skip" if proof.verdict == "unknown" else proof.verdict, proof.reason)
        for proof in answers.proofs
    ]
    found += [
        Result(
            f"{notice.fault}: {notice.door}",
            "skip" if notice.verdict == "unknown" else notice.verdict,
            notice.sentence,
        )
        for notice in answers.notices
    ]
    return found
