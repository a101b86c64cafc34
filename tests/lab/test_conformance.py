"""The conformance suite on a real kernel: it holds, and what is broken on purpose turns the right
checks red.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lvslab.conformance import director
from lvslab.conformance.check import all_checks, select
from lvslab.conformance.director import Director
from lvslab.conformance.runner import NEEDED, run_checks
from lvslab.conformance.testbed import Bench, LabBench
from lvslab.ipvs.service import PacketForwarding, Scheduler, VirtualService
from lvslab.kernels import probe
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from tests.lab.conftest import Outcome, in_sandbox, run_lvslab

pytestmark = pytest.mark.usefixtures("quick_guests")
"""Half of the processor's time; `make soak` runs the suite on the installed kernel."""

MAY_BE_SKIPPED = {f"scheduler:twos:{each}" for each in ("tcp", "udp", "weight-0", "idle", "weighted")}
"""What needs a scheduler that Debian's User-Mode Linux does not have."""


@pytest.fixture(scope="module")
def full(quick_guests: None, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    runs = tmp_path_factory.mktemp("full")
    return run_lvslab("verify", "--full", "--json", "--runs", str(runs), timeout=1800)


def test_every_check_holds_or_says_why_it_cannot(full: Outcome) -> None:
    results = full.data["results"]
    wrong = [(each["name"], each["reason"]) for each in results if each["verdict"] == "fail"]
    assert full.code == 0 and not wrong, wrong
    assert [each["name"] for each in results] == [each.name for each in all_checks()]
    skipped = {each["name"]: each["reason"] for each in results if each["verdict"] == "skip"}
    late = {name for name, reason in skipped.items() if reason.startswith("not judged: the machine was late")}
    assert late <= {each.name for each in all_checks() if each.spoilt_by is not None}, skipped
    skipped = {name: reason for name, reason in skipped.items() if name not in late}
    assert set(skipped) <= MAY_BE_SKIPPED, skipped
    assert all(re.match(r"kernel \S+(:| lacks:) ", reason) for reason in skipped.values()), skipped


def test_results_are_kept_in_every_format(full: Outcome) -> None:
    run, results = Path(full.data["run"]), full.data["results"]
    suite = ElementTree.parse(run / "junit.xml").getroot()
    assert int(suite.get("tests", "0")) == len(results) == len(suite)
    assert f"1..{len(results)}" in (run / "results.tap").read_text()
    lines = (run / "results.txt").read_text().splitlines()
    assert len(lines) == sum(1 + len(each["detail"]) for each in results)


def test_a_changed_sysctl_of_the_director_turns_red_what_needs_it(tmp_path: Path) -> None:
    chosen = ("--only", "*:request:ipv4-tcp", "--only", "*:reply:ipv4-tcp")
    done = run_lvslab("verify", *chosen, "--set", "net.ipv4.ip_forward=0", "--json", "--runs", str(tmp_path))
    verdicts = {each["name"]: each["verdict"] for each in done.data["results"]}
    assert done.code == 1 and verdicts["nat:reply:ipv4-tcp"] == "fail"
    assert verdicts["dr:request:ipv4-tcp"] == verdicts["tun:request:ipv4-tcp"] == "pass"
    (failed,) = [each for each in done.data["results"] if each["name"] == "nat:reply:ipv4-tcp"]
    assert (Path(done.data["run"]) / failed["evidence"][0]).stat().st_size > 0


def verdicts(patterns: tuple[str, ...], break_it: Callable[[], None]) -> dict[str, str]:
    """Name → verdict of checks on a bench that is broken first; call it in a sandbox."""
    break_it()
    kernels = probe.kernels_here(NEEDED, "uml")
    needs = [need for need in NEEDED if need in kernels.facts["uml"].met]
    plan = make_plan(LabSpec.of("nat", kernels=["uml"], servers=1, more_needs=needs), kernels)
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab, LabBench(lab) as bench:
        return {
            each.check.name: each.verdict
            for each in run_checks(bench, select(all_checks(), patterns), Path(logs))
        }


def _swap(mode: str, forwarding: PacketForwarding) -> None:
    director._FORWARDING[mode] = forwarding


@pytest.mark.parametrize(("broken", "instead"), [("dr", PacketForwarding.TUN), ("tun", PacketForwarding.DR)])
def test_a_mode_that_forwards_otherwise_turns_its_own_checks_red(
    broken: str, instead: PacketForwarding
) -> None:
    patterns = tuple(f"{mode}:request:*" for mode in ("nat", "dr", "tun"))
    found = in_sandbox(verdicts, patterns, lambda: _swap(broken, instead))
    assert {name for name, verdict in found.items() if verdict == "fail"} == {
        name for name in found if name.startswith(f"{broken}:")
    }


def _disguise(wanted: Scheduler, instead: Scheduler) -> None:
    """The director gets another scheduler than the check asks for."""
    add = Bench.add

    def other(self: Director, service: VirtualService) -> VirtualService:
        return add(self, replace(service, scheduler=instead) if service.scheduler == wanted else service)

    Bench.add = other  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("wanted", "instead"),
    [(Scheduler.WRR, Scheduler.RR), (Scheduler.RR, Scheduler.SH), (Scheduler.SH, Scheduler.RR)],
)
def test_a_wrong_scheduler_turns_its_own_distribution_red(wanted: Scheduler, instead: Scheduler) -> None:
    patterns = ("scheduler:rr:*", "scheduler:wrr:*", "scheduler:sh:*")
    found = in_sandbox(verdicts, patterns, lambda: _disguise(wanted, instead))
    red = {name for name, verdict in found.items() if verdict == "fail"}
    assert f"scheduler:{wanted}:3-to-1" in red
    assert all(name.startswith(f"scheduler:{wanted}:") for name in red), red


def test_the_kernels_own_selftest_passes_case_by_case(tmp_path: Path) -> None:
    done = run_lvslab("verify", "--profile", "kernel-selftest", "--json", "--runs", str(tmp_path))
    assert done.code == 0, done.out + done.err
    assert [each["verdict"] for each in done.data["results"]] == ["pass"] * 3
    assert all(
        (Path(done.data["run"]) / file).is_file()
        for each in done.data["results"]
        for file in each["evidence"]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "nosuch:*"), "no check has such a name"),
        (("--tag", "nosuch"), "no check has it"),
        (("--full", "nat"), "take neither modes"),
        (("--full", "--set", "drop_packet=3"), "give a sysctl with its dots"),
    ],
)
def test_wrong_input_starts_nothing(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = run_lvslab("verify", *arguments, "--runs", str(tmp_path))
    assert done.code == 2 and words in done.err and not list(tmp_path.iterdir())
