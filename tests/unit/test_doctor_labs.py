"""Every cure that the doctor can offer is applied in a lab: that of a training lab by
tests/lab/test_training.py, all others by tests/lab/test_fixes.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from lvslab.doctor import rules
from lvslab.training.exercise import load_all
from tests.lab.broken import FAULTS
from tests.lab.broken_files import FILE_FAULTS


def _faults(source: str) -> Iterator[str]:
    """The ids of the findings that a module makes; "?": one that is worked out elsewhere."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
            first = node.args[0]
            for choice in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                yield str(choice.value) if isinstance(choice, ast.Constant) else "?"


def test_every_finding_has_a_lab_in_which_its_fix_is_applied() -> None:
    modules = Path(rules.__file__).parent.glob("*.py")
    faults = {fault for module in modules for fault in _faults(module.read_text())}
    applied = {lab.fault for lab in load_all()} | {fault.name for fault in (*FAULTS, *FILE_FAULTS)}
    assert len(faults) > 50
    assert faults - applied == set()


def test_findings_are_read_from_the_source() -> None:
    source = 'yield Finding("one", f"{it}", ())\nFinding("two" if it else "three", "")\nFinding(name, "")'
    assert sorted(_faults(source)) == ["?", "one", "three", "two"]
