"""The order of the house: who may import whom, who may print, what an import may load, how long
a module may be.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "lvslab"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    ("exitcodes", "events"),
    ("errors",),
    ("host",),
    ("runs",),
    ("ipvs", "comparison"),
    ("kernels", "control", "report"),
    ("modes", "catalog"),
    ("plan", "bench"),
    ("lab", "simulation"),
    ("traffic", "faults"),
    ("verify", "proxies"),
    ("scenario", "doctor"),
    ("conformance", "training", "testing", "rehearse"),
    ("sweep", "classroom"),
    ("cli",),
)
"""What stands on what, from the ground up: a package imports packages of lower floors only, and
none of its own. Packages that are planned have their floor already. docs/architecture.md draws it.
"""

PLANNED = {"simulation", "rehearse", "sweep", "classroom"}
ENTRIES = {"__init__", "__main__"}
MOST_LINES = 450


def _module(path: Path) -> str:
    """The dotted name below `lvslab` of a file; a package's own for its `__init__`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").strip(".")


@cache
def _imported(source: str) -> tuple[str, ...]:
    """Everything that a file names in an import, wherever it stands: lazy imports inside functions
    and those under TYPE_CHECKING count like all others.
    """
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)


def _arrows(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Module → modules of lvslab that it imports, by their names below `lvslab`."""
    arrows: dict[str, set[str]] = {}
    for name, source in sources.items():
        arrows[name] = set()
        for imported in _imported(source):
            target = imported.removeprefix("lvslab.") if imported.startswith("lvslab.") else ""
            while target and target not in sources:
                target = target.rpartition(".")[0]
            if target and target != name:
                arrows[name].add(target)
    return arrows


def _against_the_order(arrows: Mapping[str, set[str]]) -> list[str]:
    floor = {package: number for number, packages in enumerate(FLOORS) for package in packages}
    wrong = []
    for name, targets in arrows.items():
        package = name.partition(".")[0]
        for target in sorted(targets):
            other = target.partition(".")[0]
            if name and package not in ENTRIES and package != other and floor[other] >= floor[package]:
                wrong.append(f"{name} imports {target}")
    return wrong


def _circles(arrows: Mapping[str, set[str]]) -> list[str]:
    """Modules that reach themselves. A package's face counts as what it hands on, not as a module
    that its own parts import.
    """

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        todo = [start]
        while todo:
            for target in arrows[todo.pop()]:
                if target not in found:
                    found.add(target)
                    todo.append(target)
        return found

    return [name for name in arrows if name in reachable(name)]


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {_module(path): path.read_text() for path in MODULES}


def test_every_package_has_a_floor(sources: dict[str, str]) -> None:
    packages = {name.partition(".")[0] for name in sources} - {"", *ENTRIES}
    on_floors = [package for floor in FLOORS for package in floor]
    assert packages == set(on_floors) - PLANNED | packages & PLANNED
    assert len(on_floors) == len(set(on_floors))


def test_imports_go_down_only(sources: dict[str, str]) -> None:
    assert not _against_the_order(_arrows(sources))


def test_no_module_imports_itself_in_a_circle(sources: dict[str, str]) -> None:
    assert not _circles(_arrows(sources))


@pytest.mark.parametrize(
    "wrong",
    [
        "from lvslab.cli import terminal",
        "def later():\n    from lvslab.cli import terminal",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import lvslab.cli.terminal",
    ],
    ids=["plain", "lazy", "for types"],
)
def test_an_import_against_the_order_is_found(sources: dict[str, str], wrong: str) -> None:
    spoilt = {**sources, "kernels.needs": f"{sources['kernels.needs']}\n{wrong}\n"}
    assert _against_the_order(_arrows(spoilt)) == ["kernels.needs imports cli.terminal"]


def test_a_circle_is_found(sources: dict[str, str]) -> None:
    spoilt = {**sources, "plan.layout": f"{sources['plan.layout']}\nimport lvslab.plan.plan\n"}
    assert {"plan.layout", "plan.plan"} <= set(_circles(_arrows(spoilt)))


def test_modules_are_short() -> None:
    root = PACKAGE.parent
    paths = [
        path
        for part in ("lvslab", "tests", "scenarios", "topologies")
        for path in root.glob(f"{part}/**/*.py")
    ]
    long = {str(path.relative_to(root)) for path in paths if len(path.read_text().splitlines()) > MOST_LINES}
    assert not long


@pytest.mark.parametrize("path", sorted((PACKAGE / "report").rglob("*.py")), ids=_module)
def test_reports_read_only_the_run_directory(path: Path) -> None:
    allowed = ("lvslab.errors", "lvslab.runs", "lvslab.comparison", "lvslab.report")
    own = [name for name in _imported(path.read_text()) if name.startswith("lvslab")]
    assert not [name for name in own if not name.startswith(allowed)]


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_only_the_command_line_prints_and_nobody_uses_shell_strings(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [call for call in calls if any(word.arg == "shell" for word in call.keywords)]
    is_program = path.name == "latency.py" or path.stem.endswith("_program")  # runs as a process of its own
    if path.parent.name == "cli" or is_program:
        return
    printed = [ast.unparse(call.func) for call in calls]
    assert not [name for name in printed if name in ("print", "sys.stdout.write", "sys.stderr.write")]


@pytest.mark.parametrize("module", ["lvslab", "lvslab.cli", "lvslab.testing.plugin"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import {module}, sys;"
        " print([m for m in ('scapy', 'matplotlib', 'numpy', 'mininet', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
