"""What the doctor offers is done, command by command, in a lab that is broken in this way: the
lab's own exam must pass, and no finding be left, old or new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lvslab.doctor import gather
from lvslab.doctor.diagnose import diagnose
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.training.exercise import Exercise, load_all
from lvslab.verify.verification import verify
from tests.lab.conftest import in_sandbox
from tests.lab.exercise_program import apply
from tests.lab.exercise_runs import Runs, runs_of

ASKS_FOR_MORE = {"cloud-vip": "any address", "rdp-farm": "who serves"}
"""Labs whose task is more than the mending of the fault → the next point of their exams: fifteen
further addresses; and a server that is started and not taken out, for which there is no general
command.
"""

BROKEN = [exercise for exercise in load_all() if exercise.fault]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest) -> Iterator[Runs]:
    with runs_of(request, "--by-doctor") as found:
        yield found


@pytest.mark.parametrize("exercise", BROKEN, ids=[exercise.name for exercise in BROKEN])
def test_what_the_doctor_says_mends_the_lab_and_leaves_no_finding(exercise: Exercise, runs: Runs) -> None:
    run = runs.of(exercise.name)
    assert run["untouched"]["failed"] == exercise.fails, run["untouched"]
    assert run["untouched"]["faults"][:1] == [exercise.fault], run["untouched"]["said"]
    assert run["solved"]["failed"] == ASKS_FOR_MORE.get(exercise.name), (run["solved"], run["done"])
    assert run["solved"]["faults"] == [], run["solved"]["said"]


@dataclass(frozen=True)
class Fault:
    """A lab that is broken by leaving out steps, or by a command on a node."""

    name: str
    mode: str
    without: tuple[str, ...] = ()
    command: tuple[str, str] | None = None
    options: dict[str, Any] = field(default_factory=dict)


FAULTS = (
    Fault(
        "all-servers-quiescent",
        "nat",
        command=(
            "lvs",
            "for rip in 10.0.1.11 10.0.1.12; do ipvsadm -e -t 10.0.0.10:80 -r $rip:8080 -m -w 0; done",
        ),
    ),
    Fault("vip-not-local", "nat", command=("lvs", "ip address del 10.0.0.10/32 dev lvs-eth0")),
    Fault(
        "masquerade-to-loopback",
        "nat",
        command=(
            "lvs",
            "ipvsadm -A -t 10.0.0.10:81 -s rr\nipvsadm -a -t 10.0.0.10:81 -r 127.0.0.1:81 -m",
        ),
    ),
    Fault("conntrack-off", "fullnat", command=("lvs", "sysctl -w net.ipv4.vs.conntrack=0")),
    Fault("local-address-missing", "fullnat", without=("local-addresses",)),
    Fault("syn-proxy-half", "synproxy", without=("notrack",)),
    Fault("syn-proxy-half", "synproxy", without=("synproxy",)),
    Fault("tunnel-down", "tun", command=("rs1", "ip link set tunl0 down")),
    Fault("vip-missing-on-server", "dr", command=("rs1", "ip address del 10.0.0.10/32 dev lo")),
    Fault(
        "vip-held-twice",
        "dr",
        command=("lvs2", "ip address add 10.0.0.10/32 dev lvs2-eth0"),
        options={"directors": 2},
    ),
    Fault("sync-off", "dr", command=("lvs2", "ipvsadm --stop-daemon backup"), options={"directors": 2}),
)


def _mended(fault: Fault, logs: Path) -> tuple[list[str], list[str], list[str], str]:
    """The faults found before and after the fix was applied, what that said, and the verdict
    on the packets' paths.
    """
    spec = LabSpec.of(fault.mode, without=fault.without, more_needs=[], **fault.options)
    with Lab(make_plan(spec, probe.kernels_here(tuple(Need))), logs) as lab:
        if fault.command:
            node, script = fault.command
            lab.node(node).run(script).check(node, script)
        before = diagnose(gather.of_lab(lab))
        done = apply(lab, [line for each in before for line in each.to_json()["fix"]])
        (logs / "captures").mkdir()
        outcome = verify(lab, logs)
        after = diagnose(gather.of_lab(lab))
        faults = [each.fault for each in before], [each.fault for each in after]
        return *faults, done, f"{outcome.verdict}: {outcome.reason}"


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{each.name}-{each.mode}" for each in FAULTS])
def test_the_fix_of_a_fault_without_a_lab_of_its_own_mends_the_paths(fault: Fault, tmp_path: Path) -> None:
    before, after, done, verdict = in_sandbox(_mended, fault, tmp_path)
    assert before == [fault.name]
    assert verdict.startswith("pass"), (verdict, done)
    assert after == [], done
