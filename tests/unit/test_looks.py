"""How a report shows forwarding modes, which it knows from run directories alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.modes import MODES, mode_records
from lvslab.report import style
from lvslab.report.looks import looks_of
from lvslab.runs.records import ForwardingMode
from lvslab.runs.rundir import Run, load
from lvslab.runs.writer import RunWriter


def run_with(root: Path, modes: Sequence[ForwardingMode]) -> Run:
    with RunWriter(root, "run", kind="run", command=["lvslab"], forwarding_modes=modes) as run:
        pass
    return load(run.path)


def test_modes_look_as_their_descriptions_say(tmp_path: Path) -> None:
    looks = looks_of(run_with(tmp_path, mode_records()))
    for name, mode in MODES.items():
        look = looks.of(name)
        assert (look.title, look.light, look.dark) == (mode.title, mode.color.light, mode.color.dark)
        assert looks.theme()[name] == (f"--{name}", look.light, look.dark)
    assert looks.sorted(["zeta", "tun", "nat", "tun", "alpha"]) == ("nat", "tun", "alpha", "zeta")


def test_a_mode_that_nobody_described_is_grey(tmp_path: Path) -> None:
    look = looks_of(run_with(tmp_path, mode_records())).of("gue")
    assert (look.title, look.variable, look.light, look.dark) == ("gue", *style.THEME["other"])


def test_a_run_of_before_modes_were_described_looks_as_it_did() -> None:
    look = looks_of(load(Path(__file__).parent / "data" / "run-1")).of("fullnat")
    assert (look.title, look.light, look.dark) == ("FullNAT", "#b5529b", "#d884c2")


def test_a_proxy_has_a_look_of_its_own(tmp_path: Path) -> None:
    looks = looks_of(run_with(tmp_path, ()))
    assert looks.of("haproxy").title == "HAProxy" and looks.of("haproxy").variable in [
        variable for variable, _, _ in looks.theme().values()
    ]


def test_no_mode_takes_a_colour_of_the_theme(tmp_path: Path) -> None:
    looks = looks_of(run_with(tmp_path, [ForwardingMode("ink", "Ink", "#ffffff", "#000000")]))
    assert looks.theme()["ink"] == style.THEME["ink"]


@pytest.mark.parametrize(
    "mode",
    [
        ForwardingMode("nat;} body {display: none", "NAT", "#0072b2", "#4aa8e0"),
        ForwardingMode("nat", "NAT", "url(http://example.com)", "#4aa8e0"),
        ForwardingMode("nat", "NAT", "#0072b2", "red"),
    ],
    ids=["name", "color", "dark"],
)
def test_what_is_no_colour_stays_out_of_style_sheets(tmp_path: Path, mode: ForwardingMode) -> None:
    run = run_with(tmp_path, [mode])
    with pytest.raises(UsageError, match=r"run\.json: forwarding mode .* a colour is like #0072b2"):
        looks_of(run)
