"""The scenarios that factories make: what a user may set in each, and that they are told apart."""

from __future__ import annotations

import pytest

from lvslab.errors import UsageError
from lvslab.modes import ALL_MODES, IPVS_MODES
from lvslab.plan.files import shipped_files
from lvslab.scenario.description import Scenario, load, parameters

SHIPPED = shipped_files("scenarios")
DIRECTORS = {"mode", "sync", "advert", "rate", "connections", "repeat"}


def shipped(name: str) -> Scenario:
    return load(name, SHIPPED)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("director-handover", set()),
        ("director-hung", set()),
        ("director-link-loss", set()),
        ("director-panic", {"preempt"}),
        ("director-power-cut", {"preempt"}),
        ("rolling-upgrade", {"kernels"}),
    ],
)
def test_a_failing_director_has_the_parameters_that_it_offers(name: str, more: set[str]) -> None:
    assert set(shipped(name).parameters) == DIRECTORS | more


@pytest.mark.parametrize("name", ["kernels", "preempt"])
def test_what_a_scenario_fixes_cannot_be_set(name: str) -> None:
    with pytest.raises(UsageError, match=f"'director-hung' has no parameter '{name}'; it has: mode=nat, "):
        parameters(shipped("director-hung"), {name: "uml"})


def test_a_factory_keeps_the_defaults_of_each_scenario_apart() -> None:
    upgrade, handover = shipped("rolling-upgrade"), shipped("director-handover")
    assert (upgrade.parameters["rate"], handover.parameters["rate"]) == (300.0, 500.0)
    assert upgrade.parameters["kernels"] == ("uml", "debian/trixie")
    assert (upgrade.modes, handover.modes) == (IPVS_MODES, ALL_MODES)


def test_twins_differ_in_their_words_alone() -> None:
    killed, silent = shipped("server-killed"), shipped("server-power-off")
    assert killed.parameters == silent.parameters and killed.choices == silent.choices
    assert killed.title != silent.title and killed.teaches != silent.teaches
