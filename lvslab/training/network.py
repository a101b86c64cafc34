"""The network of an exercise: every node that the student reaches has a kernel of its own, so
nothing done there touches the machine.
"""

from __future__ import annotations

from dataclasses import replace

from lvslab.control.health import control_named
from lvslab.errors import UsageError
from lvslab.ipvs.service import Scheduler
from lvslab.kernels.kinds import CHEAPEST, HOST
from lvslab.kernels.needs import Kernels, Need
from lvslab.modes import mode_named
from lvslab.modes.base import Role
from lvslab.plan.plan import LabPlan, plan_lab
from lvslab.training.exercise import Exercise


def plan_exercise(exercise: Exercise, kernels: Kernels, kernel: str | None = None) -> LabPlan:
    """The plan of an exercise's lab.

    Its last client is the examiner's: on the machine's own kernel, out of the student's reach, and
    the first that tests use.

    Args:
        kernels: User-Mode Linux's facts among them.
        kernel: of the directors, by default User-Mode Linux like all the student's nodes.

    Raises:
        UsageError, CannotError: as `lvslab.plan.plan.make_plan`; or the directors were to run on
            the machine's own kernel.
    """
    if kernel == HOST:
        raise UsageError(
            "--kernel host: a student is root on the director, so it needs a kernel of its own, such as uml"
        )
    options = dict(exercise.lab)
    clients = options.pop("clients", 1) + 1
    if "control" in options:
        options["health"] = control_named(options.pop("control"))
    if "scheduler" in options:
        options["scheduler"] = Scheduler(options["scheduler"])
    alone = not options.pop("vrrp", True)
    plan = plan_lab(
        mode_named(exercise.mode),
        kernels,
        clients=clients,
        name=exercise.name,
        director_kernels=[kernel or CHEAPEST.kind],
        **options,
    )
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
