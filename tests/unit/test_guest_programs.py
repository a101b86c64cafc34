"""Programs for nodes are files in the `guest/` of their package: right for their shell, and not
texts in Python.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from lvslab.host.scripts import guest_file, guest_script

PACKAGE = Path(__file__).resolve().parents[2] / "lvslab"
SCRIPTS = sorted(path for path in PACKAGE.rglob("guest/*") if path.suffix != ".bashrc")
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent.name != "exercises")
"""An exercise prints its scripts for the student, so they stand in it."""

MOST_LINES = 9
"""A template around another script, or lines for a script, may be a text; a program is a file."""

_PROGRAM = re.compile(r"#!|^(?:import|from \w+ import|def|while|for|until|case)\b", re.MULTILINE)


def _programs(source: str) -> list[str]:
    """The texts in a module, docstrings apart, that are whole programs of shell or Python."""
    nodes = list(ast.walk(ast.parse(source)))
    alone = {node.value for node in nodes if isinstance(node, ast.Expr)}  # docstrings
    texts = []
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            texts.append("".join(str(part.value) for part in node.values if isinstance(part, ast.Constant)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in alone:
            texts.append(node.value)
    return [text for text in texts if text.count("\n") >= MOST_LINES and _PROGRAM.search(text)]


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_script_is_right_for_its_shell(path: Path) -> None:
    check = {".bash": ["bash", "-n"], ".pl": ["perl", "-cw"]}.get(path.suffix, ["sh", "-n"])
    done = subprocess.run([*check, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_holds_a_program_as_a_text() -> None:
    found = {path: _programs(path.read_text(encoding="utf-8")) for path in MODULES}
    assert len(found) > 500 and not {path: programs for path, programs in found.items() if programs}


def test_a_program_in_a_module_is_found() -> None:
    text = guest_file("lvslab.traffic", "iperf3.sh")
    assert _programs(f"SCRIPT = {text!r}") == [text]
    prose = "A line.\n" * 20 + "for example\n"
    assert not _programs(f'"""{prose}"""')


def test_a_script_gets_its_arguments_whole() -> None:
    script = guest_script("lvslab.traffic", "iperf3.sh", 2, 0, "--client", "a b", "$HOME")
    shown = subprocess.run(
        ["sh", "-c", f'iperf3() {{ printf "<%s>" "$@"; }}\n{script}'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "<--client><a b><$HOME><--json>"
