"""A rehearsal from its beginning to its answers."""

from __future__ import annotations

from pathlib import Path

from lvslab.events import Listener
from lvslab.ipvs.rules import format_rules
from lvslab.rehearse.deaths import Wish
from lvslab.rehearse.findings import findings
from lvslab.rehearse.judging import sizes_of
from lvslab.rehearse.lab import RehearsalLab
from lvslab.rehearse.rehearsal import Rehearsal
from lvslab.rehearse.seats import Speaks
from lvslab.rehearse.stage import Stage
from lvslab.rehearse.trials import kill_all, kill_servers, lose_directors
from lvslab.runs.rehearsal import Answers


def rehearse(stage: Stage, wish: Wish, logs: Path, speaks: Speaks, listener: Listener) -> Answers:
    """Run a whole rehearsal.

    Args:
        logs: an existing folder for logs and the users' records.

    Raises:
        LabError: the lab, a daemon or a server broke.
    """
    with RehearsalLab(stage, logs, listener) as lab:
        return answers(Rehearsal(lab, logs / "users", speaks, listener), wish)


def answers(rehearsal: Rehearsal, wish: Wish) -> Answers:
    """Everything that is asked about the files that the lab runs now."""
    left = rehearsal.settle()
    tables = {name: format_rules(table) for name, table in rehearsal.tables().items()}
    rehearsal.prove()
    found = findings(rehearsal.lab)
    if not left:
        for death in wish.deaths:
            kill_servers(rehearsal, death)
        if wish.all_dead:
            kill_all(rehearsal)
        if wish.directors:
            lose_directors(rehearsal)
    stage = rehearsal.stage
    return Answers(
        guesses=stage.guesses,
        notes=(
            *(note for director in stage.directors for note in director.notes),
            *rehearsal.lab.notes,
            *(said for director in stage.directors for said in rehearsal.lab.complaints(director)),
        ),
        tables=tables,
        differences=(*left, *rehearsal.leftovers),
        proofs=tuple(rehearsal.proofs),
        notices=tuple(rehearsal.notices),
        findings=found,
        sizes=sizes_of(stage),
        releases={director.name: rehearsal.lab.release(director.name) for director in stage.directors},
        programs={director.name: rehearsal.lab.program(director) for director in stage.directors},
    )
