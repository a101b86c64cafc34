"""Watching how late the machine is while a lab is under load: for how long its directors' guests
are kept waiting for a processor, and how late a sleeper wakes up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from lvslab.errors import LabError
from lvslab.lab.lab import Lab
from lvslab.runs.lateness import COLUMNS, PERIOD

_WORTH_NOTING = 0.001
"""Seconds of waiting below which a period is left out of the file."""


class LatenessWatch:
    """Measures while the block is entered, and writes what it finds to a file.

    Directors on the machine's own kernel are not measured by themselves; the sleeper, which is a
    thread of this process, stands for them.
    """

    def __init__(self, lab: Lab, file: Path) -> None:
        self._lab, self._file = lab, file
        self._over = threading.Event()
        self._problem: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="lateness", daemon=True)

    def __enter__(self) -> LatenessWatch:
        self._file.write_text(",".join(COLUMNS) + "\n")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._problem and error is None:
            raise LabError(f"{self._file}: cannot be written: {self._problem.strerror}") from self._problem

    def _run(self) -> None:
        before = self._waited()
        due = time.monotonic()
        try:
            with self._file.open("a") as stream:
                while not self._over.is_set():
                    due += PERIOD
                    self._over.wait(max(0.0, due - time.monotonic()))
                    now, late = time.time(), max(0.0, time.monotonic() - due)
                    waited = self._waited()
                    lines = {"machine": late, **_grown(before, waited)}
                    stream.writelines(
                        f"{now:.6f},{who},{seconds:.6f}\n"
                        for who, seconds in lines.items()
                        if seconds >= _WORTH_NOTING
                    )
                    stream.flush()
                    before, due = waited, due + late
        except OSError as problem:
            self._problem = problem

    def _waited(self) -> dict[str, dict[int, float]]:
        """Director → its processes → seconds that each has waited for a processor so far."""
        guests = {planned.name: self._lab.guest(planned.name) for planned in self._lab.plan.directors}
        return {name: guest.waited_seconds() for name, guest in guests.items() if guest}


def _grown(
    before: Mapping[str, Mapping[int, float]], after: Mapping[str, Mapping[int, float]]
) -> dict[str, float]:
    """Director → seconds that its processes have waited between two looks; those of a process that
    is new count from its start.
    """
    return {
        who: sum(max(0.0, seconds - before.get(who, {}).get(pid, 0.0)) for pid, seconds in processes.items())
        for who, processes in after.items()
    }
