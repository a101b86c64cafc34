"""The pytest plugin as far as it needs no kernel: options, markers, what is collected, and that it
costs nothing when it is not used.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import UsageError
from lvslab.kernels.needs import Need
from lvslab.modes import MODES
from lvslab.plan.spec import LabSpec
from lvslab.testing.settings import Asked, Settings, asked_by, is_wanted, modes_of, read_settings

HEAVY = (
    "lvslab.lab",
    "lvslab.scenario.experiment",
    "lvslab.plan",
    "mininet",
    "scapy",
    "matplotlib",
    "numpy",
    "rich",
    "click",
)


def settings(**chosen: Any) -> Settings:
    usual = {
        "kernels": (),
        "modes": (),
        "require": False,
        "runs": Path("runs"),
        "keep": False,
        "timeout": 300.0,
    }
    return read_settings(**{**usual, **chosen})


def run_pytest(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(text)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:anyio",
        "-p",
        "no:xdist",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


# -- options ---------------------------------------------------------------------------------------


def test_all_stands_for_every_mode() -> None:
    assert settings(modes=["all"]).modes == tuple(map(str, MODES))
    assert settings(modes=["dr", "nat", "dr"]).modes == ("dr", "nat")


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"modes": ["natt"]}, "mode 'natt'"),
        ({"kernels": ["nonsense"]}, "kernel 'nonsense'"),
        ({"kernels": ["debian/nosuchsuite"]}, "lvslab kernels fetch debian/nosuchsuite"),
        ({"timeout": 0.0}, "--lvs-timeout 0"),
    ],
)
def test_wrong_options_are_refused(chosen: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        settings(**chosen)


# -- markers ---------------------------------------------------------------------------------------


def test_the_closer_marker_counts_more() -> None:
    asked = asked_by([((), {"servers": 3}), ((), {"servers": 2, "clients": 2, "mode": "dr", "timeout": 5})])
    assert asked == Asked(("dr",), {"servers": 3, "clients": 2}, 5)


def test_a_mode_takes_the_place_of_modes_of_a_marker_farther_away() -> None:
    assert asked_by([((), {"mode": "tun"}), ((), {"modes": ["nat", "dr"]})]).modes == ("tun",)


def test_capabilities_may_be_given_by_name() -> None:
    asked = asked_by([((), {"more_needs": ["netem"]})])
    (need,) = LabSpec.of("nat", **asked.options).more_needs
    assert need is Need.NETEM


@pytest.mark.parametrize(
    ("positional", "named", "said"),
    [
        (("nat",), {}, "name the argument"),
        ((), {"mode": "natt"}, "mode 'natt'"),
        ((), {"mode": "nat", "modes": ["dr"]}, "not both"),
        ((), {"modes": "nat"}, "give a list"),
        ((), {"sevrers": 3}, "no option 'sevrers'; it has: .*servers"),
        ((), {"servers": 0}, "servers: 0"),
        ((), {"scheduler": "xx"}, "scheduler 'xx'"),
        ((), {"control": "nagios"}, "nagios"),
        ((), {"without": ["arp"]}, "no set-up step 'arp'"),
        ((), {"more_needs": ["teleport"]}, "more_needs 'teleport'"),
        ((), {"weights": 3}, "weights=3"),
        ((), {"mode": "dr", "topology": "nat"}, "mode 'dr'"),
        ((), {"timeout": 0}, "timeout=0"),
    ],
)
def test_wrong_markers_are_refused(positional: tuple[str, ...], named: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked_by([(positional, named)])


def test_modes_of_test_and_command_line() -> None:
    nothing, own, several = Asked(), Asked(("dr",)), Asked(("nat", "dr"))
    assert [modes_of(each, settings()) for each in (nothing, own, several)] == [(), (), ("nat", "dr")]
    some = settings(modes=["nat", "tun"])
    assert [modes_of(each, some) for each in (nothing, own, several)] == [
        ("nat", "tun"),
        ("dr",),
        ("nat", "dr"),
    ]
    assert is_wanted("nat", some) and not is_wanted("dr", some) and is_wanted("dr", settings())


# -- sessions --------------------------------------------------------------------------------------


def test_the_plugin_is_an_entry_point() -> None:
    assert {each.value for each in entry_points(group="pytest11", name="lvslab")} == {"lvslab.testing.plugin"}


def test_a_session_without_such_tests_loads_nothing(tmp_path: Path) -> None:
    text = f"import sys\ndef test_it(): assert not [each for each in {HEAVY} if each in sys.modules]\n"
    done = run_pytest(tmp_path, text)
    assert done.returncode == 0, done.stdout
    assert not (tmp_path / "runs").exists()


def test_the_check_above_sees_what_is_loaded(tmp_path: Path) -> None:
    text = (
        f"import sys, lvslab.plan\ndef test_it(): assert not [each for each in {HEAVY} if each in"
        " sys.modules]\n"
    )
    assert run_pytest(tmp_path, text).returncode == 1


TESTS = """
import pytest
def test_any(lvs_lab): pass
@pytest.mark.lvs(mode="dr")
def test_dr(lvs_lab): pass
@pytest.mark.lvs(modes=["nat", "tun"])
def test_two(lvs_lab_factory): pass
def test_plain(): pass
"""


@pytest.mark.parametrize(
    ("arguments", "collected"),
    [
        ((), ["test_any", "test_dr", "test_two[nat]", "test_two[tun]", "test_plain"]),
        (
            ("--lvs-mode", "tun", "--lvs-mode", "dr"),
            ["test_any[tun]", "test_any[dr]", "test_dr[dr]", "test_two[tun]", "test_plain"],
        ),
        (
            ("--lvs-kernel", "uml", "--lvs-kernel", "host", "--lvs-mode", "dr"),
            ["test_any[dr-uml]", "test_any[dr-host]", "test_dr[dr-uml]", "test_dr[dr-host]", "test_plain"],
        ),
    ],
)
def test_kernels_and_modes_make_tests(
    tmp_path: Path, arguments: tuple[str, ...], collected: list[str]
) -> None:
    done = run_pytest(tmp_path, TESTS, "--strict-markers", "--collect-only", "-q", *arguments)
    found = [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]
    assert sorted(found) == sorted(collected), done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [("--lvs-mode", "natt"), ("--lvs-kernel", "nonsense"), ("--lvs-timeout", "-1")]
)
def test_wrong_options_end_the_session_before_any_test(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run_pytest(tmp_path, TESTS, *arguments)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert done.stderr.startswith("ERROR: ") and arguments[1].lstrip("-") in done.stderr
    assert "passed" not in done.stdout


def test_a_wrong_marker_ends_the_session_before_any_test(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, TESTS + "@pytest.mark.lvs(servers=0)\ndef test_bad(lvs_lab): pass\n")
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "test_it.py::test_bad: servers: 0" in done.stdout and "passed" not in done.stdout
