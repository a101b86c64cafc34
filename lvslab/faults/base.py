"""What all faults share: break, prove that it broke, put it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lvslab.errors import LabError, UsageError
from lvslab.lab.worlds import AnyLab
from lvslab.modes.base import Role
from lvslab.plan.plan import NodePlan

_PROOF_SECONDS = 10.0
"""So long a fault or a repair may take to show."""

_LOOK = 0.005


@dataclass(frozen=True)
class Fault:
    """A fault that has fired.

    Attributes:
        node: where.
        text: what broke, one line.
        t: seconds since the epoch, just before it was broken.
        proof: what was seen that proves it.
        lasted: seconds from `t` until the proof was seen.
    """

    node: str
    text: str
    t: float
    proof: str
    lasted: float


@contextmanager
def broken(
    lab: AnyLab,
    node: str,
    text: str,
    break_it: Callable[[], object],
    proof: Callable[[], str | None],
    mend: Callable[[], str],
) -> Iterator[Fault]:
    """Break, wait for the proof, tell it; on leaving put it back, also after an error, and tell
    that.

    Args:
        mend: puts back what was changed, and says so. It is not called after an interruption, which
            ends the lab.
    """
    began = lab.now()
    break_it()
    seen = wait(lab, proof, f"fault '{text}' does not show")
    lasted = lab.now() - began
    lab.tell("fault", f"{text} ({seen})", node, began)
    try:
        yield Fault(node, text, began, str(seen), lasted)
    except Exception as error:
        try:
            _mend(lab, node, mend)
        except LabError as another:
            error.add_note(f"and it could not be put back: {another}")
        raise
    _mend(lab, node, mend)


def _mend(lab: AnyLab, node: str, mend: Callable[[], str]) -> None:
    """Put it back; what is told carries the time at which that was done."""
    lab.tell("repair", mend(), node)


def wait(lab: AnyLab, condition: Callable[[], object], problem: str) -> object:
    """What the condition says when it holds.

    Raises:
        LabError: it does not hold in time.
    """
    value = lab.clock.wait(condition, _PROOF_SECONDS, _LOOK)
    if not value:
        raise LabError(f"{problem} within {_PROOF_SECONDS:g} s")
    return value


def planned_node(lab: AnyLab, node: str, role: Role | None = None) -> NodePlan:
    fitting = [each for each in lab.plan.nodes if role in (None, each.role)]
    found = next((each for each in fitting if each.name == node), None)
    if found is None:
        names = ", ".join(each.name for each in fitting)
        raise UsageError(
            f"fault: there is no {role or 'node'} '{node}' in lab '{lab.plan.name}'; choose from: {names}"
        )
    return found


@contextmanager
def power_cut(lab: AnyLab, node: str, text: str) -> Iterator[Fault]:
    def mend() -> str:
        lab.power_on(node)
        return f"{node}: powered on, booted and set up"

    off = lambda: None if lab.is_on(node) else "no power"  # noqa: E731
    with broken(lab, node, text, lambda: lab.power_off(node), off, mend) as fault:
        yield fault
