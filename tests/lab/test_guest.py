"""A guest is a Mininet node: commands, exit codes, live output, Ctrl-C, links at run time; and its
death is noticed.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import CannotError, CommandError, GuestError
from lvslab.kernels import probe, registers, uml
from lvslab.kernels.machine import Guest
from lvslab.kernels.needs import Need
from lvslab.lab import room
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.plan import NodePlan
from lvslab.plan.spec import LabSpec
from tests.lab.conftest import in_sandbox


def in_nat_lab(work: Callable[[Lab], Any], kernel: str | None = "uml") -> Any:
    """Run something in a NAT lab whose director is a guest."""

    def inside() -> Any:
        spec = LabSpec.of("nat", kernels=[kernel] if kernel else [])
        plan = make_plan(spec, probe.kernels_here([Need.IP_VS], kernel))
        with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
            return work(lab)

    return in_sandbox(inside)


def test_a_lab_that_does_not_fit_into_memory_starts_no_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    booted: list[str] = []
    monkeypatch.setattr(room, "available_mib", lambda: 100)
    monkeypatch.setattr(Lab, "_boot", lambda lab, node: booted.append(node.name))
    with pytest.raises(CannotError, match=r"1 guest kernel \(lvs\) may take 128 MiB of memory, and 100 MiB"):
        in_nat_lab(lambda lab: None)
    assert not booted


def test_pexec_gives_output_and_exit_code() -> None:
    assert in_nat_lab(lambda lab: lab.director.pexec("echo out; echo err >&2; exit 5")) == (
        "out\n",
        "err\n",
        5,
    )


def test_pexec_of_a_list_quotes_its_words() -> None:
    assert in_nat_lab(lambda lab: lab.director.pexec(["printf", "%s|", "a b", "c"])) == ("a b|c|", "", 0)


def test_cmd_keeps_the_shells_state_and_runs_in_the_guests_kernel() -> None:
    def work(lab: Lab) -> tuple[str, str, str]:
        node = lab.director
        node.cmd("cd /tmp; word=hello")
        return node.cmd("echo $word $PWD").strip(), node.cmd("uname -r").strip(), os.uname().release

    said, guest, host = in_nat_lab(work)
    assert said == "hello /tmp"
    assert guest != host


def test_popen_streams_output_takes_signals_and_tells_the_exit_code() -> None:
    def work(lab: Lab) -> tuple[bytes, int | None, int, tuple[bytes, bytes], int | None]:
        node = lab.director
        running = node.popen("echo started; exec sleep 1000")
        assert running.stdout is not None
        first = running.stdout.readline()  # before the process ends
        running.terminate()
        code = running.wait(20)
        other = node.popen("echo out; echo err >&2; exit 3")
        both = other.communicate()
        return first, running.poll(), code, both, other.returncode

    first, polled, code, both, other = in_nat_lab(work)
    assert first == b"started\n"
    assert polled == code == -signal.SIGTERM
    assert both == (b"out\n", b"err\n") and other == 3


def test_ctrl_c_ends_a_command_of_the_interactive_shell() -> None:
    def work(lab: Lab) -> str:
        node = lab.director
        node.cmd("true")
        node.sendCmd("sleep 1000")
        deadline = time.monotonic() + 20
        while node.run("pgrep -x sleep").code != 0:
            assert time.monotonic() < deadline
        node.sendInt()
        while node.waiting:
            assert time.monotonic() < deadline
            node.monitor(timeoutms=500)
        return node.cmd("echo alive").strip()

    assert in_nat_lab(work) == "alive"


def test_large_output_comes_whole() -> None:
    def work(lab: Lab) -> tuple[int, str]:
        out = lab.director.run("seq 1 200000").out
        return len(out.splitlines()), out.splitlines()[-1]

    assert in_nat_lab(work) == (200_000, "200000")


def test_a_link_added_at_run_time_works() -> None:
    def work(lab: Lab) -> str:
        switch = lab.net.addSwitch("s9")
        switch.start([])
        link = lab.net.addLink(switch, lab.director)
        switch.stop()
        lab.director.run(f"ip addr add 10.0.9.1/24 dev {link.intf2.name}").check("lvs", "ip addr add")
        return lab.director.run(f"ip -br addr show {link.intf2.name}").out

    assert "10.0.9.1/24" in in_nat_lab(work)


def test_the_hosts_files_are_seen_and_not_written() -> None:
    marker = Path("/etc/lvslab-guest-test")

    def work(lab: Lab) -> tuple[str, bool]:
        return (
            lab.director.run(f"cat /etc/debian_version; echo x >{marker}; cat {marker}").out,
            marker.exists(),
        )

    text, there = in_nat_lab(work)
    assert text == Path("/etc/debian_version").read_text() + "x\n"
    assert not there and not marker.exists()


def test_a_guests_clock_is_the_machines() -> None:
    """As far as a command that sets it takes time. A clock that nobody set is ahead."""

    def work(lab: Lab) -> tuple[float, float, float]:
        before = time.time()
        shown = float(lab.director.run("date +%s.%N").out)
        assert lab.start_seconds is not None
        return shown - before, shown - time.time(), lab.start_seconds

    since, ahead, started = in_nat_lab(work)
    assert -started < since and ahead <= 0, (since, ahead, started)


def test_programs_live_on_a_processor_with_more_registers_than_the_kernel_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the library that stands between both; it does no harm where nothing is too much."""
    too_many = registers.are_too_many("6.1")
    monkeypatch.setattr(registers, "are_too_many", lambda release: True)
    programs = "for i in 1 2 3 4 5; do perl -MIO::Socket::INET -e 1 && openssl version || exit 1; done"
    assert in_nat_lab(lambda lab: lab.director.pexec(programs)[2]) == 0
    if too_many:
        monkeypatch.setattr(registers, "are_too_many", lambda release: False)
        with pytest.raises(GuestError, match="ptrace set fp regs failed"):
            in_nat_lab(lambda lab: None)


def test_a_guest_that_panics_is_noticed_and_named() -> None:
    def work(lab: Lab) -> None:
        lab.director.run("echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger")

    with pytest.raises(GuestError, match=r"lvs: guest kernel died; it said: .*panic"):
        in_nat_lab(work)


def test_a_guest_that_dies_at_boot_is_an_error_that_says_so() -> None:
    class Unlucky(Lab):
        def _boot(self, node: NodePlan) -> Guest:
            guest = super()._boot(node)
            guest.kill()
            return guest

    def inside() -> dict[str, int]:
        spec = LabSpec.of("nat", kernels=["uml"])
        plan = make_plan(spec, probe.kernels_here([Need.IP_VS], "uml"))
        with tempfile.TemporaryDirectory() as logs:
            lab = Unlucky(plan, Path(logs))
            with pytest.raises(GuestError, match=r"lvs: guest kernel died at boot; it said: .*Killed"), lab:
                pass
            return lab._boots

    assert in_sandbox(inside) == {"lvs": 1}, "nobody boots it again without a word"


def test_a_first_program_that_cannot_start_is_tried_again_and_why_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel has more threads than it may have, so each fork(2) fails with EAGAIN."""
    given = uml.arguments
    monkeypatch.setattr(
        uml, "arguments", lambda *words, **more: [*given(*words, **more), "sysctl.kernel.threads-max=20"]
    )
    with pytest.raises(GuestError) as caught:
        in_nat_lab(lambda lab: None)
    console = str(caught.value)
    assert "can't fork: Resource temporarily unavailable / init: a program could not be started" in console
    assert "a second time" in console


def test_a_guest_that_dies_in_its_set_up_is_an_error_at_once() -> None:
    class Frail(Lab):
        def _set_up(self, planned: NodePlan) -> None:
            guest = self.guest(planned.name)
            if guest:
                guest.wait_ready()
                guest.kill()
            super()._set_up(planned)

    def inside() -> dict[str, int]:
        spec = LabSpec.of("nat", kernels=["uml"])
        plan = make_plan(spec, probe.kernels_here([Need.IP_VS], "uml"))
        with tempfile.TemporaryDirectory() as logs:
            lab = Frail(plan, Path(logs))
            with pytest.raises((GuestError, CommandError)), lab:
                pass
            return lab._boots

    assert in_sandbox(inside) == {"lvs": 1}


def test_a_guest_that_is_killed_is_noticed() -> None:
    def work(lab: Lab) -> None:
        guest = lab.guest("lvs")
        assert guest is not None
        os.kill(guest.pid, signal.SIGKILL)
        lab.director.run("true")

    with pytest.raises(GuestError, match="lvs: guest kernel died"):
        in_nat_lab(work)


def test_a_guest_that_hangs_at_boot_is_given_up_in_time() -> None:
    def inside() -> float:
        from lvslab.host import sandbox
        from lvslab.kernels.uml import UmlGuest, UmlKernel

        guest = UmlGuest(
            UmlKernel.installed(),
            "hung",
            ["ip_vs"],
            sandbox.PRIVATE_DIRECTORY / "hung",
            sandbox.PRIVATE_DIRECTORY / "console",
        )
        os.kill(guest.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            guest.wait_ready(timeout=1.0)
        finally:
            guest.close()
        return time.monotonic() - began

    with pytest.raises(GuestError, match="hung: guest kernel hung at boot"):
        in_sandbox(inside)


def test_a_set_up_command_that_fails_names_node_and_step() -> None:
    def inside() -> None:
        import dataclasses

        from lvslab.modes.base import Ip, Step

        plan = make_plan(LabSpec.of("nat"), probe.kernels_here([Need.IP_VS]))
        bad = Step("bad", "to see it fail", (Ip("address add 10.0.0.1/24 dev nosuch0"),))
        nodes = tuple(
            dataclasses.replace(node, mode_steps=(bad,)) if node.name == "lvs" else node
            for node in plan.nodes
        )
        with tempfile.TemporaryDirectory() as logs, Lab(dataclasses.replace(plan, nodes=nodes), Path(logs)):
            pass

    with pytest.raises(
        CommandError, match=r"lvs: 'set-up' failed with status 1: .*; set-up step 'bad' failed$"
    ):
        in_sandbox(inside)


def test_restored_rules_come_back_as_they_went_and_bad_ones_are_refused() -> None:
    from lvslab.ipvs.rules import parse_rules

    rules = parse_rules("-A -t 10.0.0.10:443 -s wrr -p 60\n-a -t 10.0.0.10:443 -r 10.0.1.11:443 -m -w 3\n")

    def work(lab: Lab) -> tuple[Any, str]:
        lab.ipvsadm.clear()
        lab.ipvsadm.restore(rules)
        saved = lab.ipvsadm.save()
        try:
            lab.ipvsadm.add_service(rules[0])
        except CommandError as error:
            return saved, str(error)
        return saved, ""

    saved, error = in_nat_lab(work)
    assert saved == rules
    assert error.startswith("lvs: ")
