"""The directors' daemons as a whole: started in their order, and which director of a pair is
master. The same for every world.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from lvslab.errors import LabError
from lvslab.lab.director import DirectorControl, StateListener
from lvslab.plan.plan import LabPlan, NodePlan

Make = Callable[[str, StateListener], DirectorControl]
"""Makes the daemons of a director, not yet started; their changes of state are heard."""


class Tell(Protocol):
    """`tell` of a lab."""

    def __call__(self, kind: str, text: str, node: str = "", t: float | None = None) -> None: ...


class Directors:
    """The daemons of all directors."""

    def __init__(self, plan: LabPlan, make: Make, tell: Tell) -> None:
        self._plan, self._make, self._tell = plan, make, tell
        self._controls: dict[str, DirectorControl] = {}
        self._states: dict[str, str] = {}

    def start(self, directors: Sequence[NodePlan]) -> None:
        """Start what watches servers and the other director, one director after the other: the
        first one becomes master.

        Raises:
            LabError: a daemon did not start.
        """
        for planned in directors:
            control = self._controls[planned.name] = self._make(planned.name, self._hear)
            control.start(master=len(directors) > 1 and planned is directors[0])

    def __getitem__(self, director: str) -> DirectorControl:
        return self._controls[director]

    def check(self, spare: Collection[str]) -> None:
        """Raise LabError if a daemon has ended unasked in a director that is not to be spared."""
        for name, control in self._controls.items():
            if name not in spare:
                control.check()

    def state(self, director: str) -> str:
        """ "MASTER", "BACKUP" or "FAULT" as the director's keepalived said last, "" before."""
        return self._states.get(director, "")

    def master(self, is_on: Callable[[str], bool]) -> str:
        """The director that holds the virtual address: the only one, or the one whose VRRP says so
        and that runs.

        Raises:
            LabError: none does at the moment.
        """
        names = [director.name for director in self._plan.directors]
        if len(names) == 1:
            return names[0]
        for name in names:
            if self.state(name) == "MASTER" and is_on(name):
                return name
        states = ", ".join(f"{name} {self.state(name) or 'unknown'}" for name in names)
        raise LabError(f"lab '{self._plan.name}': no director is master ({states})")

    def _hear(self, t: float, director: str, instance: str, state: str) -> None:
        if instance == "outer":
            self._states[director] = state
        self._tell("vrrp", f"{director}: {instance} addresses {state}", director, t)
