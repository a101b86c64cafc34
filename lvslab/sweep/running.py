"""Cells handed out and taken back, until each is done or broken. Whoever does the work is a crew;
what it says is kept before it counts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lvslab.events import Event, Listener
from lvslab.exitcodes import ExitCode
from lvslab.runs.words import plural
from lvslab.sweep.cell import Cell
from lvslab.sweep.store import Done, Store
from lvslab.sweep.work import Outcome

MOST_TRIES = 3
"""So often a cell may break, or kill its worker, before it is recorded as broken."""


class Crew(Protocol):
    """Who carries out cells.

    Attributes:
        room: how many more cells it takes now.
        places: how many cells that share a machine it carries out at a time.
        machines: how many cells that need one alone.
    """

    @property
    def room(self) -> int: ...

    @property
    def places(self) -> int: ...

    @property
    def machines(self) -> int: ...

    def start(self, cell: Cell, *, alone: bool) -> None:
        """Begin a cell, on a machine of its own or beside others."""

    def ended(self) -> tuple[Cell, Outcome]:
        """Wait for the next cell that has ended; one whose worker died has broken, without files.

        Raises:
            LabError: there is nobody any more who could carry it out.
        """


@dataclass(frozen=True)
class Tally:
    """How far a sweep is.

    Attributes:
        done: cells with a result; `failed`: those of them with an expectation that failed.
        broken: cells without a result.
        left: cells that are not done; `seconds_left`: how long they will take.
    """

    done: int
    failed: int
    broken: int
    left: int
    seconds_left: float


def tally(cells: Sequence[Cell], done: Mapping[str, Done], places: int = 1, machines: int = 1) -> Tally:
    """How far a sweep is; what its finished cells took corrects what was expected of the others."""
    finished = [(cell, done[cell.key]) for cell in cells if cell.key in done]
    left = [cell for cell in cells if cell.key not in done]
    expected = sum(cell.seconds for cell, _ in finished)
    pace = sum(one.seconds for _, one in finished) / expected if expected else 1.0
    alone = sum(cell.seconds for cell in left if cell.timed)
    sharing = sum(cell.seconds for cell in left if not cell.timed)
    return Tally(
        done=sum(not one.broken for _, one in finished),
        failed=sum(one.code == ExitCode.FAILED for _, one in finished),
        broken=sum(one.broken for _, one in finished),
        left=len(left),
        seconds_left=pace * (alone / max(1, machines) + sharing / max(1, places)),
    )


def sweep(
    cells: Sequence[Cell],
    store: Store,
    crew: Crew,
    listener: Listener,
    *,
    again: Callable[[Done], bool] = lambda done: False,
) -> Mapping[str, Done]:
    """Carry out what is not done of some cells, in their order as far as there is room.

    A cell that broke, or whose worker died, is tried again with nothing else under way: Dask blames
    all cells that a worker had when it died. The third time it is broken.

    Args:
        store: held (`Store.mine`).
        again: which of the finished cells are to be done again.

    Returns:
        Key → what became of the cell, of all cells.

    Raises:
        LabError: the crew is gone, or the folder cannot be written; what is done is kept.
    """
    wanted = {cell.key for cell in cells}
    done = {key: one for key, one in store.done().items() if key in wanted and not again(one)}
    if done:
        listener(Event("", "job", f"done already: {len(done)} of {plural(len(cells), 'cell')}"))
    waiting = deque(cell for cell in cells if cell.key not in done)
    suspects: deque[Cell] = deque()
    tries: Counter[str] = Counter()
    under_way = 0
    while waiting or suspects or under_way:
        while (suspects and not under_way) or (waiting and not suspects and crew.room):
            cell = (suspects or waiting).popleft()
            crew.start(cell, alone=cell.timed or tries[cell.key] > 0)
            under_way += 1
            if tries[cell.key]:
                break  # nothing beside it
        cell, outcome = crew.ended()
        under_way -= 1
        tries[cell.key] += 1
        if outcome.code == ExitCode.LAB_BROKE and tries[cell.key] < MOST_TRIES:
            listener(Event("", "note", f"{cell.title}: {outcome.error}; tried again"))
            suspects.append(cell)
            continue
        done[cell.key] = store.keep(cell, outcome, tries[cell.key])
        listener(
            Event(
                "",
                "job",
                "\n".join(_told(cell, done[cell.key], tally(cells, done, crew.places, crew.machines))),
            )
        )
    return done


def _told(cell: Cell, done: Done, now: Tally) -> Iterator[str]:
    verdict = {ExitCode.OK: "PASS", ExitCode.CANNOT: "SKIP", ExitCode.FAILED: "FAIL"}.get(done.code, "BROKE")
    cause = f": {done.error}" if done.error else ""
    yield f"{cell.title}: {verdict} in {done.seconds:.1f} s{cause}"
    yield f"  {words(now)}"


def words(now: Tally) -> str:
    """How far a sweep is, in a line."""
    troubles = [f"{now.failed} failed"] * bool(now.failed) + [f"{now.broken} broken"] * bool(now.broken)
    left = f"{now.left} left, about {span(now.seconds_left)}" if now.left else "none left"
    return ", ".join([f"{now.done} done", *troubles, left])


def span(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
