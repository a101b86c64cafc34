"""The nodes of a training network that a student may enter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvslab.modes.base import Role
from lvslab.plan.plan import LabPlan, NodePlan

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab


def examiner(plan: LabPlan) -> NodePlan:
    """The client from which the exam is taken."""
    return plan.of_role(Role.CLIENT)[0]


def student_nodes(plan: LabPlan) -> tuple[NodePlan, ...]:
    """The nodes on which the student may open shells."""
    return tuple(each for each in plan.nodes if each is not examiner(plan))


def named(plan: LabPlan, name: str) -> NodePlan | None:
    """A node of the student's by its name, or by its role when that is "director" or "client"."""
    nodes = student_nodes(plan)
    by_role = {"director": Role.DIRECTOR, "client": Role.CLIENT}
    return next((each for each in nodes if each.name == name or each.role == by_role.get(name)), None)


def told(lab: Lab, plan: LabPlan) -> list[dict[str, Any]]:
    """The student's nodes as data for a page."""
    return [
        {
            "name": each.name,
            "role": str(each.role),
            "addresses": [interface.address for interface in each.interfaces],
            "networks": [interface.network for interface in each.interfaces],
            "on": lab.is_on(each.name),
        }
        for each in student_nodes(plan)
    ]
