"""The order of the house: who may import whom, who may print, what an import may load, how long
a module may be.
"""

from __future__ import annotations

import ast
import re
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
    ("kernels", "control", "report", "reading"),
    ("modes", "catalog"),
    ("plan", "bench"),
    ("lab",),
    ("traffic", "faults"),
    ("verify", "proxies", "simulation"),
    ("scenario", "doctor"),
    ("conformance", "training", "testing", "rehearse"),
    ("sweep", "classroom", "bisect", "explore"),
    ("results",),
    ("cli",),
)
"""What stands on what, from the ground up: a package imports packages of lower floors only, and
none of its own. Packages that are planned have their floor already. docs/architecture.md draws it.
"""

PLANNED: set[str] = set()
ENTRIES = {"__init__", "__main__"}
MOST_LINES = 450


def _module(path: Path) -> str:
    """The dotted name below `lvslab` of a file; a package's own for its `__init__`."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").strip(".")


@cache
def _read(source: str) -> tuple[tuple[str, ...], tuple[ast.Call, ...]]:
    """What a file imports and what it calls, wherever it stands: lazy imports inside functions and
    those under TYPE_CHECKING count like all others.
    """
    names: list[str] = []
    calls: list[ast.Call] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            calls.append(node)
    return tuple(names), tuple(calls)


def _imported(source: str) -> tuple[str, ...]:
    return _read(source)[0]


def _calls(source: str) -> tuple[ast.Call, ...]:
    return _read(source)[1]


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


def test_the_drawing_shows_a_floor_a_row() -> None:
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = text.partition("## The floors")[2].split("```\n")[1]
    rows = [re.split(r"\s{3,}", line[1:])[0] for line in drawing.splitlines() if not line.startswith("  ")]
    drawn = [{word.strip("()/") for word in row.split()} for row in rows]
    assert drawn == [set(floor) for floor in reversed(FLOORS)]
    planned = {word.strip("()/") for row in rows for word in row.split() if word.startswith("(")}
    assert planned == {package for package in PLANNED if not (PACKAGE / package).is_dir()}


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


def test_reports_read_only_the_run_directory(sources: dict[str, str]) -> None:
    allowed = ("lvslab.errors", "lvslab.runs", "lvslab.comparison", "lvslab.report")
    wrong = [
        f"{module} imports {name}"
        for module, source in sources.items()
        if module.partition(".")[0] == "report"
        for name in _imported(source)
        if name.startswith("lvslab") and not name.startswith(allowed)
    ]
    assert not wrong


def test_nobody_uses_shell_strings(sources: dict[str, str]) -> None:
    wrong = [
        f"{module}: {ast.unparse(call)}"
        for module, source in sources.items()
        for call in _calls(source)
        if any(word.arg == "shell" for word in call.keywords)
    ]
    assert not wrong


def _may_print(module: str) -> bool:
    """Whether it is a command, or runs as a process of its own."""
    package, _, name = module.rpartition(".")
    return "cli" in (module, package) or name == "latency" or name.endswith("_program")


def test_only_the_command_line_prints(sources: dict[str, str]) -> None:
    wrong = [
        f"{module}: {ast.unparse(call)}"
        for module, source in sources.items()
        if not _may_print(module)
        for call in _calls(source)
        if getattr(call.func, "id", getattr(call.func, "attr", "")) in ("print", "write")
        and ast.unparse(call.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    ]
    assert not wrong


NODES_FILE = re.compile(r"\b(?:node|client|director|server|guest)\.(?:directory|share) / [^)\n]*\)\.\w+")


def test_files_of_a_nodes_folder_are_read_and_written_by_guestfiles_alone(sources: dict[str, str]) -> None:
    """Root in a guest may have put a FIFO there."""
    wrong = [f"{module}: {text}" for module, source in sources.items() for text in NODES_FILE.findall(source)]
    assert not wrong


@pytest.mark.parametrize("module", ["lvslab", "lvslab.cli", "lvslab.testing.plugin"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import {module}, sys;"
        " print([m for m in ('scapy', 'matplotlib', 'numpy', 'mininet', 'rich') if m in sys.modules])"
    )
    assert _printed(code) == "[]"


def _printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_labs_do_not_load_setuptools() -> None:
    """It takes the place of distutils, of which Mininet needs a few lines."""
    if _printed("import sys, mininet.node; print('setuptools' in sys.modules)") == "False":
        pytest.skip("setuptools is not here, or does not take the place of distutils")
    if sys.version_info >= (3, 12):
        pytest.skip("Python has no distutils of its own since 3.12")
    code = "import sys, lvslab.lab; print([m for m in ('setuptools', 'distutils') if m in sys.modules])"
    assert _printed(code) == "[]"
    assert _printed("import lvslab.lab, setuptools, distutils; print(distutils.__name__)") == "distutils"
