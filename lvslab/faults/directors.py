"""Faults of directors: power cut, panic, hung, and the planned hand-over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvslab.errors import UsageError
from lvslab.faults.base import Fault, broken, planned_node, power_cut, wait
from lvslab.lab.worlds import AnyLab
from lvslab.modes.base import Role


@contextmanager
def director_power_cut(lab: AnyLab, director: str) -> Iterator[Fault]:
    """The director's kernel is killed at once, as by a power cut; on leaving it boots again, with
    no memory of its connections.
    """
    _own_kernel(lab, director)
    with power_cut(lab, director, f"{director}: power cut") as fault:
        yield fault


@contextmanager
def director_panic(lab: AnyLab, director: str) -> Iterator[Fault]:
    """The director's kernel panics (SysRq c); on leaving it boots again."""
    _own_kernel(lab, director)

    def dead() -> str | None:
        return None if lab.is_on(director) else lab.last_words(director)

    def mend() -> str:
        lab.power_on(director)
        return f"{director}: booted again"

    text, panic = f"{director}: kernel panic", lambda: lab.panic(director)
    with broken(lab, director, text, panic, dead, mend) as fault:
        yield fault


@contextmanager
def director_hung(lab: AnyLab, director: str) -> Iterator[Fault]:
    """The director's kernel stands still (SIGSTOP) and goes on later, still believing that it is
    the master.
    """
    _own_kernel(lab, director)

    def mend() -> str:
        lab.thaw(director)
        wait(lab, lambda: not lab.is_frozen(director), f"{director}: does not go on")
        return f"{director}: goes on where it stood"

    stopped = lambda: "its process is stopped" if lab.is_frozen(director) else None  # noqa: E731
    text, freeze = f"{director}: hung", lambda: lab.freeze(director)
    with broken(lab, director, text, freeze, stopped, mend) as fault:
        yield fault


@contextmanager
def handed_over(lab: AnyLab, director: str) -> Iterator[Fault]:
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


def _own_kernel(lab: AnyLab, director: str) -> None:
    if not planned_node(lab, director, Role.DIRECTOR).is_guest:
        raise UsageError(
            f"fault: '{director}' runs on the machine's own kernel, which cannot be cut off or stopped; give"
            " it one of its own: --kernel uml"
        )
