"""A matrix carried out: its cells take turns, each with run directories in a folder of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lvslab.events import Event, Listener
from lvslab.scenario.cells import turns


class Worker(Protocol):
    """What a matrix lets do one repetition after the other, for one cell."""

    @property
    def title(self) -> str:
        """Tells people which of the workers it is."""

    @property
    def over(self) -> bool:
        """Nothing more can be done: it broke, the machine cannot, or it did everything at once."""

    def turn(self, repetition: int) -> object:
        """Do one repetition. What goes wrong ends this worker and is its own to keep: an error
        that came out would end the others, too.
        """


def take_turns(workers: Sequence[Worker], repeat: int, listener: Listener, *, numbered: bool = False) -> None:
    """Let workers do `repeat` repetitions in turns; one that is over leaves the others to go on.

    Args:
        numbered: count the turns in what is told.
    """
    total = len(workers) * repeat
    for number, (repetition, worker) in enumerate(turns(workers, repeat), start=1):
        if worker.over:
            continue
        count = f"[{number}/{total}] " if numbered else ""
        text = f"{count}{worker.title}, repetition {repetition} of {repeat}"
        listener(Event("", "job", text))
        worker.turn(repetition)


def new_folder(runs: Path, what: str = "matrix") -> Path:
    """Make a folder for several runs, such as the cells of a matrix, named after the time (UTC)."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    counter = 1
    while True:
        path = runs / (f"{stamp}-{what}" if counter == 1 else f"{stamp}-{what}-{counter}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            counter += 1
        else:
            return path
