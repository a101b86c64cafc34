"""The rules of the house: who may import what, who may print, what an import may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "lvslab"
MODULES = sorted(PACKAGE.rglob("*.py"))
DESCRIPTIONS = [
    "service",
    "topology",
    "scenario",
    "plan",
    "events",
    "errors",
    "exitcodes",
    "completed",
    "modes",
    "kernels/needs",
]
EDGES = (
    "lvslab.lab",
    "lvslab.lab",
    "lvslab.traffic",
    "lvslab.report",
    "lvslab.cli",
    "lvslab.kernels.machine",
    "lvslab.kernels.uml",
    "lvslab.kernels.qemu",
    "lvslab.kernels.agent",
)


def _imports(path: Path) -> set[str]:
    """Modules imported when the file is loaded: not those inside functions or under
    TYPE_CHECKING.
    """
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _is_description(path: Path) -> bool:
    name = str(path.relative_to(PACKAGE).with_suffix(""))
    return any(name == each or name.startswith(f"{each}/") for each in DESCRIPTIONS)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if _is_description(path)], ids=lambda path: path.stem
)
def test_descriptions_import_no_edge(path: Path) -> None:
    assert not {name for name in _imports(path) if name.startswith(EDGES)}


@pytest.mark.parametrize("path", sorted((PACKAGE / "report").rglob("*.py")), ids=lambda path: path.stem)
def test_reports_read_only_the_run_directory(path: Path) -> None:
    allowed = ("lvslab.errors", "lvslab.runs", "lvslab.comparison", "lvslab.report")
    own = {name for name in _imports(path) if name.startswith("lvslab")}
    assert not {name for name in own if not name.startswith(allowed)}
    edges = (
        "lvslab.runs.performance",
        "lvslab.runs.provenance",
        "lvslab.runs.judge",
        "lvslab.runs.frames",
    )
    assert not {name for name in own if name.startswith(edges)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_the_command_line_prints_and_nobody_uses_shell_strings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if any(word.arg == "shell" for word in call.keywords)]
    if (
        path.parent.name == "cli"
        or path.name in ("terminal.py", "latency.py")
        or path.stem.endswith("_program")
    ):  # programs of their own
        return
    printed = [ast.unparse(call.func) for call in calls]
    assert not [name for name in printed if name in ("print", "sys.stdout.write", "sys.stderr.write")]


@pytest.mark.parametrize("module", ["lvslab", "lvslab.cli", "lvslab.testing.plugin"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import {module}, sys; print([m for m in ('scapy', 'matplotlib', 'numpy', 'mininet', 'rich') if m in"
        " sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
