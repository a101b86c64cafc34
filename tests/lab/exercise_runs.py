"""One training lab from beginning to end, and what the doctor says, done command by command."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvslab.doctor import gather
from lvslab.doctor.diagnose import diagnose
from lvslab.doctor.watch import LabWatch
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.plan import LabPlan
from lvslab.training import exam, scripts
from lvslab.training.exercise import Exercise
from lvslab.training.network import plan_exercise
from lvslab.training.nodes import student_nodes


def run(exercise: Exercise) -> dict[str, Any]:
    """What became of a lab; call it in a sandbox.

    Untouched: exam and doctor. Where it is broken, what the doctor says is done in it: exam and
    doctor again. Then its own solution, in a lab that is as at the beginning. The doctor sees what
    a student's `lvslab doctor --capture` would.
    """
    plan = plan_exercise(exercise, probe.kernels_here(tuple(Need), "uml"))
    began = time.monotonic()
    outcome: dict[str, Any] = {}
    with _prepared(exercise, plan) as lab:
        outcome |= {"started": lab.start_seconds, "untouched": _look(exercise, lab)}
        if not exercise.fault:
            outcome["solved"] = _solved(exercise, lab)
        else:
            outcome["done"] = apply(lab, outcome["untouched"]["fix"])
            outcome["mended"] = _look(exercise, lab)
    if exercise.fault:
        with _prepared(exercise, plan) as lab:
            outcome["solved"] = _solved(exercise, lab)
    return outcome | {"seconds": time.monotonic() - began}


def judged(exercise: Exercise, answer: Mapping[str, str]) -> str | None:
    """The point at which an answer fails the exam, None where it passes; call it in a sandbox.

    Args:
        answer: node → script, as a solution is.
    """
    plan = plan_exercise(exercise, probe.kernels_here(tuple(Need), "uml"))
    with _prepared(exercise, plan) as lab:
        return str(failed) if (failed := _solved(replace(exercise, solution=answer), lab)["failed"]) else None


@contextmanager
def _prepared(exercise: Exercise, plan: LabPlan) -> Iterator[Lab]:
    """A lab as its student gets it."""
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        scripts.prepare(exercise, lab)
        yield lab


def _solved(exercise: Exercise, lab: Lab) -> dict[str, Any]:
    scripts.solve(exercise, lab)
    return _look(exercise, lab)


def _look(exercise: Exercise, lab: Lab) -> dict[str, Any]:
    """What exam and doctor say of a lab."""
    names = {node.name for node in student_nodes(lab.plan)}
    with tempfile.TemporaryDirectory() as directory, LabWatch(lab, names) as watch:
        held = exam.take(exercise.check, exam.Exam(lab, Path(directory)))
    findings = diagnose(gather.of_lab(lab, names, watch.packets))
    failed = next((point for point in held.points if point.verdict == "fail"), None)
    return {
        "passed": held.passed,
        "failed": failed.name if failed else None,
        "reason": failed.reason if failed else "",
        "faults": [each.fault for each in findings],
        "said": [f"{each.fault}: {each.sentence} {each.evidence}" for each in findings],
        "fix": [line for each in findings for line in each.to_json()["fix"]],
    }


def apply(lab: Lab, fix: list[str]) -> list[str]:
    """Do what the doctor says, line by line: the commands, but not the alternatives to them. Where
    a kernel knows one kind of iptables only, that is the one.

    Returns:
        Each command with what it said, for the failure's message.
    """
    done = []
    for line in fix:
        command = re.fullmatch(r"(?:(?!or ).*: )?(?P<node>[a-z]+[0-9]*)# (?P<text>.+)", line)
        unread = re.fullmatch(r"on (?P<node>[0-9.]+): (?P<text>.+)", line)
        if said := command or unread:
            names = {rip: name for name, rip in lab.plan.addresses.rips.items()}
            node = names.get(said["node"], said["node"])
            program = lab.plan.iptables.get(node)
            head = f'iptables() {{ {program} "$@"; }}\n' if program else ""
            ran = lab.node(node).run(head + said["text"])
            done.append(f"{line}: {ran.code} {ran.out}{ran.err}")
    return done
