"""The network of an exercise: every node that the student reaches has a kernel of its own, so
nothing done there touches the machine.
"""

from __future__ import annotations

from dataclasses import replace

from lvslab.errors import UsageError
from lvslab.kernels.kinds import CHEAPEST, HOST
from lvslab.kernels.needs import Kernels, Need
from lvslab.modes.base import Role
from lvslab.plan.files import mistakes_in
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from lvslab.training.exercise import Exercise
from lvslab.training.nodes import named
from lvslab.training.values import AS_WRITTEN, Values


def plan_exercise(
    exercise: Exercise, kernels: Kernels, kernel: str | None = None, values: Values = AS_WRITTEN
) -> LabPlan:
    """The plan of an exercise's lab.

    Its last client is the examiner's: on the machine's own kernel, out of the student's reach, and
    the first that tests use.

    Args:
        kernels: User-Mode Linux's facts among them.
        kernel: of the directors, by default User-Mode Linux like all the student's nodes.
        values: that the exercise was loaded with.

    Raises:
        UsageError, CannotError: as `lvslab.plan.make.make_plan`; or the directors were to run on
            the machine's own kernel.
    """
    if kernel == HOST:
        raise UsageError(
            "--kernel host: a student is root on the director, so it needs a kernel of its own, such as uml"
        )
    with mistakes_in(exercise.file, exercise.line):
        plan = values.in_plan(_planned(exercise, kernels, kernel))
        for name in (*exercise.prepare, *exercise.solution):
            if named(plan, name) is None:
                nodes = ", ".join(["director", *(node.name for node in plan.nodes)])
                raise UsageError(f"its scripts name a node '{name}', which it does not have; nodes: {nodes}")
    return plan


def _planned(exercise: Exercise, kernels: Kernels, kernel: str | None) -> LabPlan:
    options = dict(exercise.lab)
    alone = not options.pop("vrrp", True)
    spec = LabSpec.of(exercise.mode, **options)
    spec = replace(
        spec,
        clients=spec.clients + 1,
        name=exercise.name,
        kernels=(kernel or CHEAPEST.kind,),
    )
    plan = make_plan(spec, kernels)
    examiner = plan.of_role(Role.CLIENT)[-1]
    others = [each for each in plan.nodes if each is not examiner]
    own, why = kernels.choose(frozenset({Need.IP_VS}), CHEAPEST.kind, "the student's nodes")
    guests = [
        each if each.is_guest else replace(each, kernel=own, why=f"reached by the student, {why}")
        for each in others
    ]
    if alone:  # the student is to make a pair of them
        plan = replace(plan, redundancy=None, vrrp={})
    return replace(plan, nodes=(examiner, *guests), tables=exercise.table)
