"""Faults of directors: power cut, panic, hung, and the planned hand-over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvslab.errors import UsageError
from lvslab.faults.base import Fault, broken, planned_node, power_cut, wait
from lvslab.kernels.machine import Guest
from lvslab.lab.lab import Lab
from lvslab.modes.base import Role


@contextmanager
def director_power_cut(lab: Lab, director: str) -> Iterator[Fault]:
    """The director's kernel is killed at once, as by a power cut; on leaving it boots again, with
    no memory of its connections.
    """
    _own_kernel(lab, director)
    with power_cut(lab, director, f"{director}: power cut") as fault:
        yield fault


@contextmanager
def director_panic(lab: Lab, director: str) -> Iterator[Fault]:
    """The director's kernel panics (SysRq c); on leaving it boots again."""
    guest = _own_kernel(lab, director)

    def panic() -> None:
        lab.expect_death(director)
        guest.agent.start("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger", guest.take_line()[0])

    def dead() -> str | None:
        return None if guest.alive else guest.last_words().partition(" (console")[0]

    def mend() -> str:
        lab.power_on(director)
        return f"{director}: booted again"

    with broken(lab, director, f"{director}: kernel panic", panic, dead, mend) as fault:
        yield fault


@contextmanager
def director_hung(lab: Lab, director: str) -> Iterator[Fault]:
    """The director's kernel stands still (SIGSTOP) and goes on later, still believing that it is
    the master.
    """
    guest = _own_kernel(lab, director)

    def mend() -> str:
        guest.thaw()
        wait(lambda: not guest.frozen, f"{director}: does not go on")
        return f"{director}: goes on where it stood"

    stopped = lambda: "its process is stopped" if guest.frozen else None  # noqa: E731
    with broken(lab, director, f"{director}: hung", guest.freeze, stopped, mend) as fault:
        yield fault


@contextmanager
def handed_over(lab: Lab, director: str) -> Iterator[Fault]:
    """A planned hand-over: the director's VRRP daemon ends orderly and so tells the other one to
    take over; on leaving it is started again.
    """
    planned_node(lab, director, Role.DIRECTOR)
    if lab.plan.redundancy is None:
        raise UsageError(f"hand-over: '{director}' has no partner; it needs a pair of directors")

    def stop() -> None:
        lab.stop_control(director)

    def mend() -> str:
        lab.start_control(director)
        return f"{director}: keepalived started again"

    text = f"{director}: planned hand-over (keepalived stopped)"
    ended = lambda: "keepalived has ended" if not lab.is_controlled(director) else None  # noqa: E731
    with broken(lab, director, text, stop, ended, mend) as fault:
        yield fault


def _own_kernel(lab: Lab, director: str) -> Guest:
    planned_node(lab, director, Role.DIRECTOR)
    guest = lab.guest(director)
    if guest is None:
        raise UsageError(
            f"fault: '{director}' runs on the machine's own kernel, which cannot be cut off or stopped; give"
            " it one of its own: --kernel uml"
        )
    return guest
