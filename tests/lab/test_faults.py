"""Every fault is seen by packets while it lasts, is not there without it, and leaves all
as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lvslab import faults
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.events import nobody
from lvslab.exitcodes import ExitCode
from lvslab.faults import base
from lvslab.host import distribution, programs
from lvslab.kernels import probe
from lvslab.kernels.needs import Need, any_kernel
from lvslab.kernels.uml import UmlGuest
from lvslab.runs.writer import RunWriter
from lvslab.scenario.experiment import Experiment
from lvslab.traffic import http
from tests.lab.conftest import in_sandbox
from tests.lab.scene import SECONDS, Scene, in_scene, wait_for

pytestmark = pytest.mark.usefixtures("quickest_guests")


def test_a_killed_server_refuses() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer()
        with faults.server_killed(scene.lab, "rs1") as fault:
            during, arp = scene.answer(), scene.arp("rs2", "10.0.1.11")
        return before, during, arp, scene.answer(), fault.proof, scene.told("fault"), scene.told("repair")

    before, during, arp, after, proof, broken, repaired = in_scene(work)
    assert (before, during, after) == (
        "rs1",
        "ConnectionRefusedError",
        "rs1",
    ) and arp, "the machine itself is well"
    assert broken == [f"rs1: web server killed ({proof})"] and proof.endswith(" is gone")
    assert repaired == ["rs1: web server started again"]


def test_a_server_without_power_is_silent_even_to_arp() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer(), scene.arp("rs2", "10.0.1.11"), scene.state("rs1")
        with faults.server_power_off(scene.lab, "rs1"):
            during = scene.answer(timeout=1), scene.arp("rs2", "10.0.1.11")
        return before, during, (scene.answer(), scene.arp("rs2", "10.0.1.11"), scene.state("rs1"))

    before, during, after = in_scene(work)
    assert before[:2] == ("rs1", True) and during == ("silence", False)
    assert after == before


def test_a_hung_server_takes_connections_and_says_nothing() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer()
        with faults.server_hung(scene.lab, "rs1"):
            during = scene.answer(timeout=1)
        return before, during, scene.answer()

    assert in_scene(work) == ("rs1", "connected, then silence", "rs1")


def test_a_slow_server_lets_answers_wait() -> None:
    period = 0.4

    def stalls(answers: Iterable[http.Answer]) -> tuple[int, int]:
        """Answers that took half a period and more, and answers that never came."""
        answers = list(answers)
        return sum(each.total > period / 2 for each in answers), sum(
            each.error is not None for each in answers
        )

    def work(scene: Scene) -> Any:
        before = stalls(scene.answers(40))
        with faults.server_slow(scene.lab, "rs1", share=0.1, period=period):
            during = stalls(scene.answers(40))
        return before, during, stalls(scene.answers(40))

    before, during, after = in_scene(work)
    assert (before[1], during[1], after[1]) == (0, 0, 0)
    assert during[0] > max(before[0], after[0])


def test_a_flapping_server_goes_and_comes() -> None:
    def work(scene: Scene) -> Any:
        with faults.server_flapping(scene.lab, "rs1", down=0.3, up=0.3):
            for wanted in ("ConnectionRefusedError", "rs1", "ConnectionRefusedError", "rs1"):
                wait_for(lambda: scene.answer(timeout=1) == wanted, f"never {wanted}")  # noqa: B023
        after = [scene.answer() for _ in range(5)]
        return after, scene.told("fault"), scene.told("repair")

    after, broken, repaired = in_scene(work)
    assert after == ["rs1"] * 5
    assert "rs1: web server killed, time 2" in broken and any("flapping" in each for each in broken)
    assert repaired[-1].startswith("rs1: steady after ")


def test_a_hung_director_is_silent_and_answers_at_once_afterwards() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer(), scene.reaches("c1", "10.0.0.1"), scene.state("lvs"), scene.table()
        with faults.director_hung(scene.lab, "lvs"):
            during = scene.answer(timeout=1), scene.reaches("c1", "10.0.0.1")
        for _ in range(10):  # its agent must not miss a bell that rang while it stood still
            scene.lab.director.run("true", timeout=SECONDS).check("lvs", "true")
            with faults.director_hung(scene.lab, "lvs"):
                pass
        return (
            before,
            during,
            (scene.answer(), scene.reaches("c1", "10.0.0.1"), scene.state("lvs"), scene.table()),
        )

    before, during, after = in_scene(work)
    assert before[:2] == ("rs1", True) and during == ("silence", False) and after == before


@pytest.mark.parametrize(
    "fault", [faults.director_power_cut, faults.director_panic], ids=["power cut", "panic"]
)
def test_a_director_that_loses_its_kernel_comes_back_without_memory(fault: Callable[..., Any]) -> None:
    connections, boot = "tail -n +2 /proc/net/ip_vs_conn", "cat /proc/sys/kernel/random/boot_id"

    def work(scene: Scene) -> Any:
        def run(script: str) -> str:
            return scene.lab.director.run(script).check("lvs", script)

        before = scene.answer(), scene.state("lvs"), scene.table()
        known, kernel = run(connections), run(boot)
        with fault(scene.lab, "lvs") as happened:
            during = scene.answer(timeout=1), scene.arp("c1", "10.0.0.1"), scene.lab.is_on("lvs")
        forgotten, same_kernel = run(connections), run(boot) == kernel
        after = scene.answer(), scene.state("lvs"), scene.table()
        scene.lab.check()
        return before, known, during, happened.proof, forgotten, same_kernel, after

    before, known, during, proof, forgotten, same_kernel, after = in_scene(work)
    assert before[0] == "rs1" and "0A000065" in known.upper(), "the client's connection is in the table"
    assert during == ("silence", False, False)
    assert forgotten == "" and not same_kernel and after == before
    assert ("panic" in proof) == (fault is faults.director_panic)


@pytest.mark.parametrize(
    ("fault", "during"),
    [(faults.weight_zero, {"rs2"}), (faults.server_removed, {"rs2"})],
    ids=["weight zero", "removed"],
)
def test_a_server_that_is_taken_out_gets_no_new_connection(
    fault: Callable[..., Any], during: set[str]
) -> None:
    def work(scene: Scene) -> Any:
        def servers() -> set[str]:
            return {str(each.server) for each in scene.answers(6)}

        before = servers(), scene.table()
        with fault(scene.lab, "rs1"):
            left, table = servers(), scene.table()
        return before, left, table, (servers(), scene.table())

    before, left, table, after = in_scene(work, weights=())
    assert before[0] == {"rs1", "rs2"} and left == during
    assert table != before[1] and after == before


def test_a_flushed_table_refuses_everybody() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer(), scene.table()
        with faults.table_flushed(scene.lab):
            during = scene.answer(), scene.table()
        return before, during, (scene.answer(), scene.table())

    before, during, after = in_scene(work)
    assert before[0] == "rs1" and during == ("ConnectionRefusedError", []) and after == before


SERVERS, DIRECTORS, ALL = "rs1, rs2", "lvs", "c1, lvs, rs1, rs2"


def test_a_node_that_does_not_exist_is_refused_with_those_that_do() -> None:
    asked: list[tuple[Callable[..., Any], tuple[Any, ...], str, str]] = [
        (faults.server_killed, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_power_off, ("lvs",), "real server 'lvs'", SERVERS),
        (faults.server_hung, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_slow, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_flapping, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.weight_zero, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_removed, ("c1",), "real server 'c1'", SERVERS),
        (faults.director_power_cut, ("rs1",), "director 'rs1'", DIRECTORS),
        (faults.director_panic, ("lvs2",), "director 'lvs2'", DIRECTORS),
        (faults.director_hung, ("lvs2",), "director 'lvs2'", DIRECTORS),
        (faults.handed_over, ("lvs2",), "director 'lvs2'", DIRECTORS),
        (faults.table_flushed, ("rs1",), "director 'rs1'", DIRECTORS),
        (faults.link_down, ("c9",), "node 'c9'", ALL),
        (faults.impaired, ("c9",), "node 'c9'", ALL),
        (faults.small_mtu, ("c9", 600), "node 'c9'", ALL),
        (faults.partition, (["rs1", "c9"],), "node 'c9'", ALL),
    ]

    def work(scene: Scene) -> Any:
        said = []
        for fault, arguments, _, _ in asked:
            with pytest.raises(UsageError) as caught:
                with fault(scene.lab, *arguments):
                    pass
            said.append(str(caught.value))
        return said, scene.told("fault"), scene.answer()

    said, broken, answer = in_scene(work)
    assert said == [
        f"fault: there is no {who} in lab 'nat'; choose from: {names}" for _, _, who, names in asked
    ]
    assert broken == [] and answer == "rs1"


def test_a_fault_that_does_not_show_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_PROOF_SECONDS", 0.2)
    monkeypatch.setattr(UmlGuest, "freeze", lambda guest: None)

    def work(scene: Scene) -> None:
        with faults.director_hung(scene.lab, "lvs"):
            raise AssertionError("the block of a fault that is not there must not run")

    with pytest.raises(LabError, match=r"fault 'lvs: hung' does not show within 0\.2 s"):
        in_scene(work)


def test_a_fault_is_put_back_after_an_error_too() -> None:
    def work(scene: Scene) -> Any:
        before = scene.table()
        with suppress(ZeroDivisionError), faults.table_flushed(scene.lab):
            empty = scene.table()
            raise ZeroDivisionError
        return before, empty, scene.table(), scene.told("repair")

    before, empty, after, repaired = in_scene(work)
    assert before and empty == [] and after == before and repaired == ["lvs: table restored"]


def test_a_daemon_that_dies_unasked_ends_the_trial(tmp_path: Path) -> None:
    def inside() -> None:
        kernels = probe.kernels_here([Need.IP_VS], "uml")
        with RunWriter(tmp_path, "run", kind="run", command=["pytest"]) as run:
            log = Experiment(run, kernels, nobody, ["uml"])
            with log.real_lab("nat", control="keepalived") as lab:
                with log.trial(lab, variant="killed", expects="nothing", rate=50.0) as trial:
                    trial.steady(0.5)
                    kill = f"kill -9 $(cat {lab.director.inside}/keepalived/keepalived.pid)"
                    lab.director.run(kill).check("lvs", kill)
                    trial.steady(SECONDS)

    with pytest.raises(LabError, match=r"^lvs: keepalived was ended by SIGKILL; it said last: .+ \| .+"):
        in_sandbox(inside)


@pytest.mark.parametrize(
    ("options", "program"),
    [
        ({"control": "keepalived"}, "keepalived"),
        ({"control": "mon"}, "mon"),
        ({"directors": 2}, "keepalived"),
    ],
    ids=["keepalived", "mon", "pair"],
)
def test_a_missing_program_is_named_with_its_package_before_anything_starts(
    options: dict[str, Any], program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "apt-get").touch(mode=0o755)
    for module in (programs, distribution):
        monkeypatch.setattr(module, "program_path", lambda: str(tmp_path))
    with RunWriter(tmp_path, "run", kind="run", command=["pytest"]) as run:
        log = Experiment(run, any_kernel(), nobody)
        with pytest.raises(CannotError) as caught:
            with log.lab("nat", **options):
                raise AssertionError("a lab that cannot work must not start")
    assert (
        str(caught.value)
        == f"lab 'nat': {program} not found; run: apt-get install --no-install-recommends {program}"
    )
    assert caught.value.exit_code == ExitCode.CANNOT
