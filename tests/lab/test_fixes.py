"""What the doctor offers for faults that no training lab has is done, command by command: the judge
of the fault must be content, and no finding be left, old or new. (Those of training labs:
test_training.py.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lvslab.doctor import dump, gather, script
from lvslab.doctor.diagnose import diagnose
from lvslab.doctor.dump import Given
from lvslab.doctor.evidence import Evidence
from lvslab.doctor.finding import Finding
from lvslab.doctor.watch import LabWatch
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from tests.lab.broken import FAULTS, Fault, nothing
from tests.lab.broken_files import FILE_FAULTS
from tests.lab.conftest import QUICK, QUICKEST, guests_of, in_sandbox
from tests.lab.exercise_runs import apply

ALL = (*FAULTS, *FILE_FAULTS)


def _guests(fault: Fault) -> Sequence[str]:
    """Kernels for its lab; the quickest ones have no iptables."""
    scripts = " ".join(fault.commands.values())
    if fault.mode in ("fullnat", "synproxy") or "more_needs" in fault.options or "iptables" in scripts:
        return QUICK
    return QUICKEST


def _mended(fault: Fault, logs: Path) -> dict[str, Any]:
    """The faults found before and after the fix was applied, what that said, and the judge's word
    then and, where it is to show, before.
    """
    spec = LabSpec.of(fault.mode, without=fault.without, **{"more_needs": [], **fault.options})
    with Lab(make_plan(spec, probe.kernels_here(tuple(Need))), logs) as lab:
        names = fault.reads or tuple(node.name for node in lab.plan.nodes)

        def look() -> list[Finding]:
            packets = watch.packets if fault.happens is not nothing else None
            return diagnose(_printed(lab, names) if fault.printed else gather.of_lab(lab, names, packets))

        for node, commands in fault.commands.items():
            lab.node(node).run(commands).check(node, commands)
        with LabWatch(lab, names) as watch:
            fault.happens(lab)
        before = look()
        ill = fault.judge(lab, logs) if fault.shows else "not asked"
        fix = [_as_done(fault, line) for finding in before for line in finding.to_json()["fix"]]
        done = apply(lab, fix)
        with LabWatch(lab, names) as watch:
            verdict = fault.judge(lab, logs)
        after = look()
        return {
            "before": [finding.fault for finding in before],
            "ill": ill,
            "after": [finding.fault for finding in after],
            "done": done,
            "verdict": verdict,
        }


def _printed(lab: Lab, names: Sequence[str]) -> Evidence:
    """What the doctor makes of what its script prints on each machine, for `--read`."""
    texts = {name: lab.node(name).run(script.printed(), timeout=60) for name in names}
    return dump.of_texts([Given(name, text.check(name, "the script"), name) for name, text in texts.items()])


def _as_done(fault: Fault, line: str) -> str:
    """A line of a fix as the administrator types it."""
    for pattern, command in fault.acts.items():
        line = re.sub(f"^{pattern}$", command, line)
    for word, meant in fault.known.items():
        line = re.sub(rf"\b{word}\b", meant, line)
    return line


@pytest.mark.parametrize("fault", ALL, ids=[f"{each.name}-{each.mode}" for each in ALL])
def test_the_fix_of_a_fault_without_a_lab_of_its_own_mends_it(fault: Fault, tmp_path: Path) -> None:
    with guests_of(_guests(fault)):
        outcome = in_sandbox(_mended, fault, tmp_path)
    assert outcome["before"] == [fault.name]
    assert outcome["ill"] != "pass", "the judge does not mind the fault"
    assert outcome["verdict"] == "pass", outcome["done"]
    assert outcome["after"] == [], outcome["done"]
