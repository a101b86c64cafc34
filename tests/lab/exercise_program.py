"""A program of its own: one training lab from beginning to end, as JSON on standard output. Run by
tests/lab/test_training.py.

Untouched: exam and doctor. Then its own solution, or with --by-doctor what the doctor says: exam
and doctor again. The doctor sees what a student's `lvslab doctor --capture` would.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lvslab.doctor import gather
from lvslab.doctor.diagnose import diagnose
from lvslab.doctor.watch import LabWatch
from lvslab.host import sandbox
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.training import exam, scripts
from lvslab.training.exercise import Exercise, load
from lvslab.training.network import plan_exercise
from lvslab.training.nodes import student_nodes


def run(exercise: Exercise, by_doctor: bool = False) -> dict[str, Any]:
    """What became of it."""
    plan = plan_exercise(exercise, probe.kernels_here(tuple(Need), "uml"))
    names = {node.name for node in student_nodes(plan)}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        started = lab.start_seconds

        def look() -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as directory, LabWatch(lab, names) as watch:
                held = exam.take(exercise.check, exam.Exam(lab, Path(directory)))
            found = diagnose(gather.of_lab(lab, names, watch.packets))
            failed = next((point for point in held.points if point.verdict == "fail"), None)
            return {
                "passed": held.passed,
                "failed": failed.name if failed else None,
                "reason": failed.reason if failed else "",
                "faults": [each.fault for each in found],
                "said": [f"{each.fault}: {each.sentence} {each.evidence}" for each in found],
                "fix": [line for each in found for line in each.to_json()["fix"]],
            }

        scripts.prepare(exercise, lab)
        untouched = look()
        done = apply(lab, untouched["fix"]) if by_doctor else []
        if not by_doctor:
            scripts.solve(exercise, lab)
        solved = look()
    return {
        "untouched": untouched,
        "solved": solved,
        "done": done,
        "started": started,
        "seconds": time.monotonic() - began,
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
        if command:
            program = lab.plan.iptables.get(command["node"])
            head = f'iptables() {{ {program} "$@"; }}\n' if program else ""
            ran = lab.node(command["node"]).run(head + command["text"])
            done.append(f"{line}: {ran.code} {ran.out}{ran.err}")
    return done


def main(name: str, *options: str) -> int:
    def work() -> int:
        sys.stdout.write(json.dumps(run(load(name), "--by-doctor" in options)) + "\n")
        return 0

    return sandbox.run(work)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
