"""An exercise's own scripts, run in its lab: what prepares it, and what solves it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lvslab.errors import UsageError
from lvslab.plan.plan import LabPlan
from lvslab.training.exercise import Exercise
from lvslab.training.nodes import named

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab

_SECONDS = 120.0


def prepare(exercise: Exercise, lab: Lab) -> None:
    """Install or break what the exercise is about, on all nodes side by side.

    Raises:
        UsageError: it names a node that its lab does not have.
        CommandError: a script failed.
    """
    nodes = {_node(exercise, lab.plan, name): script for name, script in exercise.prepare.items()}
    with ThreadPoolExecutor(max_workers=max(1, len(nodes)), thread_name_prefix="prepare") as pool:
        for done in [pool.submit(_run, lab, node, script) for node, script in nodes.items()]:
            done.result()


def solve(exercise: Exercise, lab: Lab, tell: Callable[[str], None] = lambda text: None) -> None:
    """Do what the exercise's own solution says, node after node.

    Args:
        tell: hears each command before its node runs them.

    Raises:
        UsageError, CommandError: as `prepare`.
    """
    for name, script in exercise.solution.items():
        node = _node(exercise, lab.plan, name)
        for text in script.strip().splitlines():
            tell(f"{node}# {text}")
        _run(lab, node, script)


def _run(lab: Lab, node: str, script: str) -> None:
    lab.node(node).run(script, timeout=_SECONDS).check(node, script.strip())


def _node(exercise: Exercise, plan: LabPlan, name: str) -> str:
    node = named(plan, name)
    if node is None:
        raise UsageError(f"lab '{exercise.name}': its scripts name a node '{name}', which it does not have")
    return node.name
