"""The time of a lab: read, waited for, and gone along with. The machine's own clock is one of two;
a lab in virtual time has another.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import Protocol, TypeVar

_Value = TypeVar("_Value")

Steps = Generator[float, None, None]
"""Something that goes on by itself: it does a step, yields the seconds until the next one, and
puts right in `finally` what it must not leave behind.
"""


class Clock(Protocol):
    """Everything that a scenario and a fault may do with time."""

    def now(self) -> float:
        """Seconds since the epoch, as in events, probes and captures."""

    def sleep(self, seconds: float) -> None:
        """Let time pass."""

    def wait(self, condition: Callable[[], _Value], timeout: float, look: float) -> _Value:
        """Wait until a condition holds, looked at every `look` seconds and at the end.

        Returns:
            What it said last, which is false when it did not hold within `timeout` seconds.
        """

    def alongside(self, name: str, steps: Steps) -> Alongside:
        """Steps to be done while the lab goes on, once they are started."""


class Alongside(ABC):
    """Steps that are done while the lab goes on, until the block is left; what they raise is raised
    there.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._problem: BaseException | None = None

    @abstractmethod
    def start(self) -> None:
        """Do the first step, now or soon, and go on by oneself."""

    @abstractmethod
    def _halt(self) -> None:
        """Do no further step, and close the steps."""

    def end(self) -> None:
        """Do no further step; what was raised meanwhile is raised here, once."""
        self._halt()
        problem, self._problem = self._problem, None
        if problem:
            raise problem

    def __enter__(self) -> Alongside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            with suppress(Exception):  # the error under way says more
                self.end()


class MachineClock:
    """The clock of this machine: a `Clock`."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, condition: Callable[[], _Value], timeout: float, look: float) -> _Value:
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            rest = deadline - time.monotonic()
            if rest <= 0:
                break
            time.sleep(min(rest, look))
        return value

    def alongside(self, name: str, steps: Steps) -> Alongside:
        return _Thread(name, steps)


class _Thread(Alongside):
    """Steps that a thread does."""

    def __init__(self, name: str, steps: Steps) -> None:
        super().__init__(steps)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _halt(self) -> None:
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            for seconds in self._steps:
                if self._ending.wait(seconds):
                    break
            self._steps.close()
        except BaseException as problem:
            self._problem = problem
