"""What `lvslab check` says on a machine that is not Debian, where packages have other names."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from lvslab.errors import CannotError
from lvslab.host import distribution, programs
from lvslab.lab import check

Elsewhere = Callable[[str], None]

SYSTEMS = {
    "fedora": 'ID=fedora\nPRETTY_NAME="Fedora Linux 41 (Forty One)"\n',
    "arch": 'ID=endeavouros\nID_LIKE=arch\nPRETTY_NAME="EndeavourOS"\n',
    "opensuse": 'ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"\nPRETTY_NAME="openSUSE Tumbleweed"\n',
    "alpine": 'ID=alpine\nPRETTY_NAME="Alpine Linux v3.20"\n',
    "other": "ID=void\nPRETTY_NAME=Void\n",
    "enterprise": 'ID="almalinux"\nID_LIKE="rhel centos fedora"\nPRETTY_NAME="AlmaLinux 9.4"\n',
}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Elsewhere:
    """A machine of another distribution, without any program, apt included."""

    def becomes(system: str) -> None:
        release = tmp_path / "os-release"
        release.write_text(SYSTEMS[system])
        monkeypatch.setattr(distribution, "OS_RELEASE", release)
        for module in (programs, distribution):
            monkeypatch.setattr(module, "program_path", lambda: str(tmp_path))

    return becomes


@pytest.mark.parametrize(
    ("system", "command"),
    [
        ("fedora", "dnf install iproute nginx nginx-mod-stream"),
        ("arch", "pacman -S iproute2 nginx"),
        ("alpine", "apk add iproute2 nginx nginx-mod-stream"),
    ],
)
def test_where_names_are_known_the_command_is_told(elsewhere: Elsewhere, system: str, command: str) -> None:
    elsewhere(system)
    wanted = ["iproute2", "nginx-light", "libnginx-mod-stream"]
    assert distribution.how_to_get(wanted) == command
    assert distribution.advice(*wanted) == f"run: {command}"


def test_what_has_no_known_package_is_named_as_a_program(elsewhere: Elsewhere) -> None:
    elsewhere("opensuse")
    assert distribution.how_to_get(["user-mode-linux", "libnginx-mod-stream", "busybox-static"]) == (
        "zypper install busybox-static; no package of this distribution is known to have linux.uml (Debian's"
        " package user-mode-linux), what Debian's package libnginx-mod-stream has"
    )
    assert distribution.advice("mon").startswith("no package of this distribution is known to have mon ")


@pytest.mark.parametrize("system", ["other", "enterprise"])
def test_of_other_distributions_no_name_is_told(elsewhere: Elsewhere, system: str) -> None:
    elsewhere(system)
    assert distribution.how_to_get(["user-mode-linux", "libnginx-mod-stream"]) == (
        "with your own package manager, install linux.uml (Debian's package user-mode-linux), what Debian's"
        " package libnginx-mod-stream has"
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_apt_no_line_and_no_refusal_says_apt_get(elsewhere: Elsewhere, system: str) -> None:
    elsewhere(system)
    lines = [
        check._system(),
        check._programs(),
        check._attempt("network", _absent, distribution.how_to_get(["kmod"])),
    ]
    assert [line.verdict for line in lines] == ["skip", "fail", "fail"]
    assert distribution.name() in lines[0].finding
    assert "mnexec" in lines[1].fix and "linux.uml" in lines[1].fix
    with pytest.raises(CannotError, match=r"^programs: .*mnexec") as refused:
        distribution.require_programs()
    with pytest.raises(CannotError, match=r"^lab 'x': mon not found; ") as script:
        distribution.require_scripts("lab 'x'", ["mon -f"])
    words = [*(f"{line.finding} {line.fix}" for line in lines), str(refused.value), str(script.value)]
    assert not [text for text in words if "apt-get" in text]


def _absent() -> str:
    raise CannotError("modprobe: not found")


def test_with_apt_the_command_is_told(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere("other")
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\n")
    apt.chmod(0o755)
    assert distribution.how_to_get(["kmod"]) == "apt-get install --no-install-recommends kmod"
    assert distribution.advice("kmod") == "run: apt-get install --no-install-recommends kmod"
    assert check._system().verdict == "pass"


def test_every_name_stands_for_a_package_that_lvslab_names() -> None:
    lines = (files("lvslab") / "data" / "package-names.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert {len(row) for row in rows} == {5}
    assert {row[0] for row in rows} <= {package.name for package in programs.packages()} | {"zstd"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (SYSTEMS["fedora"], "Fedora Linux 41 (Forty One)"),
        (SYSTEMS["other"], "Void"),
        ("ID=x\n", "unknown distribution"),
        (None, "unknown distribution"),
    ],
)
def test_a_distribution_is_named_as_os_release_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, name: str
) -> None:
    release = tmp_path / "os-release"
    if text is not None:
        release.write_text(text)
    monkeypatch.setattr(distribution, "OS_RELEASE", release)
    assert distribution.name() == name
