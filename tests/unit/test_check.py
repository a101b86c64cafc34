"""What `lvslab check` says on a machine that is not Debian, where packages have other names."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.host import programs
from lvslab.lab import check


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any program, apt included."""
    monkeypatch.setattr(programs, "program_path", lambda: str(tmp_path))


@pytest.mark.usefixtures("elsewhere")
def test_without_apt_programs_are_named_and_package_names_are_debians() -> None:
    told = programs.how_to_get(["user-mode-linux", "libnginx-mod-stream"])
    assert told == (
        "no apt here: with your own package manager, install linux.uml (Debian's package user-mode-linux),"
        " what Debian's package libnginx-mod-stream has"
    )


@pytest.mark.usefixtures("elsewhere")
def test_without_apt_no_line_says_apt_get() -> None:
    system, missing = check._system(), check._programs()
    assert system.verdict == "skip" and "lvslab names packages as Debian does" in system.finding
    assert missing.verdict == "fail" and "mnexec (Debian's package mininet)" in missing.fix
    assert "apt-get" not in system.finding + missing.fix


def test_with_apt_the_command_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\n")
    apt.chmod(0o755)
    monkeypatch.setattr(programs, "program_path", lambda: str(tmp_path))
    assert programs.how_to_get(["kmod"]) == "apt-get install --no-install-recommends kmod"
    assert check._system().verdict == "pass"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('ID=fedora\nPRETTY_NAME="Fedora Linux 41 (Forty One)"\n', "Fedora Linux 41 (Forty One)"),
        ("PRETTY_NAME=Void\n", "Void"),
        ("ID=x\n", "unknown distribution"),
    ],
)
def test_a_distribution_is_named_as_os_release_does(tmp_path: Path, text: str, name: str) -> None:
    release = tmp_path / "os-release"
    release.write_text(text)
    assert programs.distribution(release) == name
    assert programs.distribution(tmp_path / "absent") == "unknown distribution"
