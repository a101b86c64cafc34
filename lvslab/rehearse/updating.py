"""The same files on two kernels: what an update of the directors' kernel changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lvslab.events import Event, Listener
from lvslab.reading.rules import read_rules
from lvslab.rehearse.answering import rehearse
from lvslab.rehearse.deaths import Wish
from lvslab.rehearse.seats import Speaks
from lvslab.rehearse.stage import Stage
from lvslab.rehearse.tables import differences
from lvslab.runs.rehearsal import Answers, Change


def rehearse_update(
    old: Stage, new: Stage, wish: Wish, logs: Path, speaks: Speaks, listener: Listener
) -> Change:
    """Run the same files on one kernel, then on another, and answer for both.

    Args:
        old, new: of the same files, on either kernel.
        logs: an existing folder.

    Raises:
        LabError: a lab, a daemon or a server broke.
    """

    def on(which: str, stage: Stage) -> Answers:
        listener(Event("rehearsal", "control", f"the {which} kernel"))
        folder = logs / f"{which}-kernel"
        folder.mkdir()
        return rehearse(stage, wish, folder, speaks, listener)

    before, after = on("old", old), on("new", new)
    return Change(
        of="kernel",
        changes=tuple(_releases(before, after)),
        leftovers=tuple(_tables(before, after)),
        old=before,
        new=after,
    )


def _releases(before: Answers, after: Answers) -> Iterator[str]:
    for director, release in before.releases.items():
        if release != after.releases[director]:
            yield f"{director}: kernel {release} becomes {after.releases[director]}"


def _tables(before: Answers, after: Answers) -> Iterator[str]:
    """What the same files make otherwise on the new kernel."""
    for director, text in before.tables.items():
        wanted, there = (read_rules(rules).services for rules in (text, after.tables[director]))
        where = f"{director}: " if len(before.tables) > 1 else ""
        yield from (f"on the new kernel: {where}{said}" for said in differences(wanted, there))
