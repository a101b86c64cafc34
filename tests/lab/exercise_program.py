"""A program of its own: one training lab from beginning to end, as JSON on standard output. Run by
tests/lab/test_training.py.

Untouched: exam and doctor. Then its own solution: exam and doctor again. The doctor sees what a
student's `lvslab doctor --capture` would.
"""

from __future__ import annotations

import json
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


def run(exercise: Exercise) -> dict[str, Any]:
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
            }

        scripts.prepare(exercise, lab)
        untouched = look()
        scripts.solve(exercise, lab)
        solved = look()
    return {"untouched": untouched, "solved": solved, "started": started, "seconds": time.monotonic() - began}


def main(name: str) -> int:
    def work() -> int:
        sys.stdout.write(json.dumps(run(load(name))) + "\n")
        return 0

    return sandbox.run(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
