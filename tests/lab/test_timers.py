"""Every timer of IPVS to the jiffy, on one kernel in virtual time (on the others: `make slow`); and
lifetimes that were changed behind the checks' backs turn the right ones red.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from lvslab.cli.virtual import kernels_in_virtual_time
from lvslab.conformance.check import select, timer_checks
from lvslab.conformance.runner import run_checks
from lvslab.conformance.virtual import bench_in_virtual_time
from lvslab.modes import mode_named
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from tests.lab.conftest import in_sandbox, run_lvslab
from tests.lab.test_virtual_time import KERNELS

pytestmark = pytest.mark.skipif(
    not KERNELS, reason="no kernel in virtual time: lvslab kernels build debian/trixie --virtual-time"
)


def test_every_timer_is_right_to_the_jiffy(tmp_path: Path) -> None:
    judge_timers(KERNELS[0], tmp_path)


def judge_timers(kernel: str, runs: Path) -> None:
    """All checks of timers on a kernel: each must hold."""
    words = ("verify", "--profile", "timers", "--kernel", kernel)
    done = run_lvslab(*words, "--json", "--runs", str(runs), timeout=1200)
    assert done.code == 0, done.out + done.err
    assert [(each["name"], each["verdict"]) for each in done.data["results"]] == [
        (check.name, "pass") for check in timer_checks()
    ]


CHOSEN = (
    "timers:tcp:dr:ESTABLISHED",
    "timers:tcp:dr:FIN_WAIT",
    "timers:tcp:dr:CLOSE",
    "timers:udp:dr:request",
    "timers:sync:told:77",
    "timers:rates",
)


def verdicts(kernel: str, behind: str, sysctls: Mapping[str, str]) -> dict[str, str]:
    """Name → verdict of some checks on a director that has these sysctls, and in which a script has
    run that they know nothing of; call it in a sandbox.
    """
    spec = LabSpec(mode_named("nat"), servers=1, name="conformance", kernels=(kernel,), sysctls=sysctls)
    plan = make_plan(spec, kernels_in_virtual_time([kernel]))
    with tempfile.TemporaryDirectory() as logs, bench_in_virtual_time(plan, Path(logs), 1) as (bench, _):
        bench.run(behind)
        outcomes = run_checks(bench, select(timer_checks(), CHOSEN), Path(logs))
        return {outcome.check.name: outcome.verdict for outcome in outcomes}


@pytest.mark.parametrize(
    ("behind", "sysctls", "red"),
    [
        (":", {}, set()),
        ("ipvsadm --set 901 0 0", {}, {"timers:tcp:dr:ESTABLISHED"}),
        ("ipvsadm --set 0 119 299", {}, {"timers:tcp:dr:FIN_WAIT", "timers:udp:dr:request"}),
        (":", {"net.ipv4.vs.run_estimation": "0"}, {"timers:rates"}),
    ],
)
def test_a_lifetime_that_was_changed_turns_its_own_checks_red(
    behind: str, sysctls: Mapping[str, str], red: set[str]
) -> None:
    found = in_sandbox(verdicts, KERNELS[0], behind, sysctls)
    assert set(found) == set(CHOSEN)
    assert {name for name, verdict in found.items() if verdict == "fail"} == red


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--kernel", "uml"), "has no virtual time"),
        (("--full",), "choose one"),
        (("--only", "nosuch:*"), "no check has such a name"),
    ],
)
def test_wrong_input_starts_nothing(words: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    done = run_lvslab("verify", "--profile", "timers", *words, "--runs", str(tmp_path))
    assert done.code == 2 and reason in done.err and not list(tmp_path.iterdir())
