"""Versions of tools as a run notes them: no error message, and no "missing" for what is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lvslab.host import provenance


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tool on the search path, of no package; each test says what it prints."""
    monkeypatch.setattr(provenance, "program_path", lambda: f"{tmp_path}:/usr/bin:/bin")
    program = tmp_path / "tool"
    program.touch(mode=0o755)
    return program


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo tool 1.2; echo more", "tool 1.2"),
        ("echo tool 1.2 >&2", "tool 1.2"),
        ("echo modprobe: FATAL >&2; exit 1", "there, tells no version"),
        ("echo", "there, tells no version"),
    ],
)
def test_only_what_a_tool_says_of_itself_is_its_version(tool: Path, script: str, expected: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    assert provenance.version(["tool", "--version"]) == expected


def test_a_tool_that_is_not_there_has_no_version() -> None:
    assert provenance.version(["no-such-tool", "--version"]) is None


def test_the_package_tells_the_version_of_a_program_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /sbin is /usr/sbin, packages know their files by the old name."""
    said = {
        "--search": {"/sbin/tool": "tools: /sbin/tool\n"},
        "--show": {"tools": "tools 1.31-1"},
    }

    def run(command: list[str]) -> object:
        answer = said[command[1]].get(command[-1])
        return subprocess.CompletedProcess(command, int(answer is None), answer or "", "")

    monkeypatch.setattr(provenance, "_run", run)
    assert provenance._of_package("/usr/sbin/tool") == "package tools 1.31-1"
