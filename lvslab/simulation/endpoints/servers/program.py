"""What all server programs have in common: a life that faults can end, stop or slow down."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.errors import UsageError
from lvslab.runs.answers import ANSWER
from lvslab.simulation.endpoints.addresses import text_of
from lvslab.simulation.endpoints.host import Host


class Program:
    """A program on a host.

    Killed, its kernel refuses new connections (RST, or ICMP for datagrams). Frozen, its kernel goes
    on: connections are completed and data is taken until the buffers are full, but nobody answers.
    A host whose power is off does nothing at all, and its programs are gone: `start` them again.

    Attributes:
        host: where it runs.
        name: what it calls itself in its answers.
        think: nanoseconds that it takes for an answer.
        served: answers given.
    """

    def __init__(self, host: Host, name: str = "", *, think: int = 0) -> None:
        """`name`: empty for the host's own."""
        self.host, self.name, self.think = host, name or host.name, think
        self.served = 0
        self._alive = self._frozen = False
        self._life = self._rhythm = self._boot = 0
        self._backlog: list[tuple[Callable[..., None], tuple[object, ...]]] = []

    # -- its life ----------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether it runs, frozen or not."""
        return self._alive and self.host.up and self._boot == self.host.boots

    @property
    def frozen(self) -> bool:
        return self._frozen

    def start(self) -> None:
        """Run, from the beginning.

        Raises:
            UsageError: it runs, or its host's power is off, or one of its ports is in use.
        """
        if self.alive:
            raise UsageError(f"{self.host.name}: its program runs; kill it first")
        if not self.host.up:
            raise UsageError(f"{self.host.name}: its power is off; power it on first")
        self._alive, self._frozen = True, False
        self._life, self._boot = self._life + 1, self.host.boots
        self._backlog.clear()
        self._open()

    def kill(self) -> None:
        """End it without a word of its own, as SIGKILL does; its kernel closes what it had."""
        if self.alive:
            self._close()
        self._alive = self._frozen = False
        self._life += 1
        self._backlog.clear()

    def freeze(self) -> None:
        """Stop it, as SIGSTOP does."""
        if self.alive and not self._frozen:
            self._frozen = True
            self._pause()

    def thaw(self) -> None:
        """Let it go on, as SIGCONT does: first with what waits."""
        if not self.alive or not self._frozen:
            return
        self._frozen = False
        backlog, self._backlog = self._backlog, []
        for function, arguments in backlog:
            self._perform(function, *arguments)
        self._resume()

    # -- rhythms -----------------------------------------------------------------------------------

    def stutter(self, share: float, period: int) -> None:
        """Be slow: run only for a share of every period (nanoseconds), until `steady`.

        Raises:
            UsageError: the share is not between 0 and 1.
        """
        if not 0 < share < 1 or period <= 0:
            raise UsageError(f"slow server: share {share:g} of {period} ns; a share lies between 0 and 1")
        up = round(period * share)
        self._alternate(self.freeze, self.thaw, up, period - up, -1, first=up)

    def flap(self, down: int, up: int, times: int = -1) -> None:
        """Die and come back, `down` and `up` nanoseconds each, so many times, until `steady`."""
        self._alternate(self.kill, self._come_back, up, down, times, first=0)

    def steady(self) -> None:
        """End its rhythm; it runs."""
        self._rhythm += 1
        self.thaw()
        self._come_back()

    def _alternate(
        self,
        stop: Callable[[], None],
        go_on: Callable[[], None],
        going: int,
        stopped: int,
        times: int,
        first: int,
    ) -> None:
        self._rhythm += 1
        rhythm, calendar = self._rhythm, self.host.calendar

        def end(left: int) -> None:
            if rhythm == self._rhythm and left:
                stop()
                calendar.after(stopped, begin, left - 1)

        def begin(left: int) -> None:
            if rhythm == self._rhythm:
                go_on()
                calendar.after(going, end, left)

        calendar.after(first, end, times)

    def _come_back(self) -> None:
        if self.host.up and not self.alive:
            self.start()

    # -- for its kinds -----------------------------------------------------------------------------

    def _open(self) -> None:
        """Take its ports."""
        raise NotImplementedError

    def _close(self) -> None:
        """Its kernel closes its ports and connections."""
        raise NotImplementedError

    def _pause(self) -> None:
        """It reads no more."""

    def _resume(self) -> None:
        """It reads again."""

    def _answer(self, client: bytes, port: int) -> bytes:
        return ANSWER.format(name=self.name, client=text_of(client), port=port).encode()

    def _later(self, function: Callable[..., None], *arguments: object) -> None:
        """Do something after its time to think."""
        if self.think:
            self.host.calendar.after(self.think, self._if_alive, self._life, function, arguments)
        else:
            self._perform(function, *arguments)

    def _if_alive(self, life: int, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if life == self._life and self.alive:
            self._perform(function, *arguments)

    def _perform(self, function: Callable[..., None], *arguments: object) -> None:
        if self._frozen:
            self._backlog.append((function, arguments))
        else:
            function(*arguments)
