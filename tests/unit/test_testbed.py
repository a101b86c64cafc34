"""The director that checks change, without a kernel: what is set, what is put back, what is left;
and what is said of frames that came out.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from lvslab.conformance.director import Director
from lvslab.conformance.seen import Seen
from lvslab.conformance.verdict import CheckFailed, CheckSkipped
from lvslab.errors import CommandError
from lvslab.host.completed import Completed
from lvslab.ipvs.service import Protocol, Scheduler
from lvslab.lab.lab import Lab

BASELINE = """\
Prot LocalAddress:Port Scheduler Flags
/proc/sys/net/ipv4/vs/conntrack:0
/proc/sys/net/ipv4/vs/sync_threshold:3\t50
"""


class Machine:
    """Stands in for the director's node: keeps scripts, and answers the first that fits."""

    release = "6.1.0-50-amd64"

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.answers: dict[str, Completed] = {"while read -r word": Completed(0, BASELINE, "")}

    def run(self, script: str) -> Completed:
        self.scripts.append(script)
        fits = (answer for words, answer in self.answers.items() if words in script)
        return next(fits, Completed(0, "", ""))


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def director(machine: Machine) -> Director:
    links = [SimpleNamespace(name="lvs-eth0"), SimpleNamespace(name="lvs-eth1")]
    plan = SimpleNamespace(director=SimpleNamespace(name="lvs", interfaces=links), iptables={})
    made = Director(cast(Lab, SimpleNamespace(director=machine, plan=plan)))
    made.prepare()
    machine.scripts.clear()
    return made


def test_a_sysctl_of_the_baseline_is_set_without_being_read(machine: Machine, director: Director) -> None:
    director.sysctl("net.ipv4.vs.conntrack", 1)
    director.sysctl("net.ipv4.vs.sync_threshold", "0 1")
    assert machine.scripts == [
        "echo '1' >/proc/sys/net/ipv4/vs/conntrack",
        "echo '0 1' >/proc/sys/net/ipv4/vs/sync_threshold",
    ]


def test_what_was_changed_last_is_put_back_first(machine: Machine, director: Director) -> None:
    machine.answers["while read -r word"] = Completed(0, f"----\n{BASELINE}", "")
    machine.answers["cat /proc/sys/net/ipv4/conf/all/rp_filter"] = Completed(0, "2\n", "")
    director.sysctl("net.ipv4.conf.all.rp_filter", 0)
    director.sysctl("net.ipv4.vs.sync_threshold", "0 1")
    machine.scripts.clear()
    assert director.put_back() == ""
    (script,) = machine.scripts
    assert script.splitlines()[:3] == [
        "echo '3 50' >/proc/sys/net/ipv4/vs/sync_threshold",
        "echo '2' >/proc/sys/net/ipv4/conf/all/rp_filter",
        "ipvsadm -C",
    ]
    director.put_back()
    assert machine.scripts[-1].startswith("ipvsadm -C\n"), "what is put back is not put back again"


def test_only_after_a_script_are_kernel_parameters_looked_at(machine: Machine, director: Director) -> None:
    machine.answers["while read -r word"] = Completed(0, f"----\n{BASELINE}", "")
    director.put_back()
    machine.answers["while read -r word"] = Completed(0, f"----\n{BASELINE.splitlines()[0]}\n", "")
    director.service()
    assert director.put_back() == "" and "grep" not in machine.scripts[-1]
    machine.answers["while read -r word"] = Completed(0, f"----\n{BASELINE}", "")
    director.run("true")
    assert director.put_back() == "" and "grep" in machine.scripts[-1]


def test_what_a_check_leaves_behind_is_named(machine: Machine, director: Director) -> None:
    changed = BASELINE.replace("conntrack:0", "conntrack:1")
    machine.answers["while read -r word"] = Completed(0, f"----\n{changed}", "")
    assert director.put_back() == (
        "left: /proc/sys/net/ipv4/vs/conntrack:1; gone: /proc/sys/net/ipv4/vs/conntrack:0"
    )


def test_a_sysctl_that_the_kernel_lacks_is_a_reason_to_skip(machine: Machine, director: Director) -> None:
    machine.answers["cat "] = Completed(1, "", "No such file or directory")
    with pytest.raises(CheckSkipped, match=r"kernel 6\.1\.0-50-amd64 has no net\.ipv4\.vs\.est_nice"):
        director.sysctl("net.ipv4.vs.est_nice", 1)
    assert director._undo == []


def test_a_change_that_fails_is_not_put_back(machine: Machine, director: Director) -> None:
    machine.answers["ip route add"] = Completed(2, "", "File exists")
    with pytest.raises(CommandError, match="File exists"):
        director.apply("ip route add x", "ip route del x")
    assert director._undo == []


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("Scheduler or persistence engine not found", CheckSkipped),
        ("Protocol not available", CheckSkipped),
        ("Invalid argument", CommandError),
    ],
)
def test_what_a_kernel_does_not_have_is_skipped_and_what_it_refuses_fails(
    machine: Machine, director: Director, said: str, error: type[Exception]
) -> None:
    machine.answers["ipvsadm -R"] = Completed(0, said, "")
    with pytest.raises(error, match=said):
        director.service(protocol=Protocol.SCTP, scheduler=Scheduler.TWOS)


def test_without_iptables_checks_with_rules_are_skipped(director: Director) -> None:
    with pytest.raises(CheckSkipped, match="has no iptables"):
        director.rule("-A INPUT -j DROP")


FRAME = Ether(src="02:00:00:00:00:01") / IP(src="10.0.0.1", dst="10.0.0.2")


def test_one_frame_on_one_side_and_nothing_else() -> None:
    assert Seen(outside=[FRAME]).one("outside", "it") is FRAME
    for seen in (Seen(), Seen(inside=[FRAME]), Seen([FRAME], [FRAME]), Seen([FRAME, FRAME])):
        with pytest.raises(CheckFailed, match="it: one frame was expected outside") as caught:
            seen.one("outside", "it")
        assert list(caught.value.detail) == seen.summaries()
    assert [line.partition(":")[0] for line in Seen([FRAME], [FRAME]).summaries()] == ["outside", "inside"]


def test_nothing_is_nothing_on_either_side() -> None:
    Seen().nothing("it")
    for seen in (Seen(outside=[FRAME]), Seen(inside=[FRAME])):
        with pytest.raises(CheckFailed, match="it: nothing was expected"):
            seen.nothing("it")
