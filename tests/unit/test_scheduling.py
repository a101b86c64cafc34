"""A service beside its model, without a kernel: what it tells ipvsadm, and what it reads of the
table.
"""

from __future__ import annotations

from typing import cast

import pytest

from lvslab.conformance.scheduling import Change, Rig
from lvslab.conformance.testbed import Bench
from lvslab.conformance.verdict import CheckFailed
from lvslab.errors import UsageError
from lvslab.ipvs.service import Scheduler, SchedulerFlag, VirtualService

PROC = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A00000A:07D0 rr
  -> 0A00010B:1F90      Masq    1      2          3
  -> 0A00010C:1F90      Masq    1      0          1
"""


class Recorder:
    """Stands in for a bench: keeps scripts, and answers each with `out`."""

    version = "6.1.176"
    iptables = "iptables-legacy"

    def __init__(self) -> None:
        self.scripts: list[str] = []
        self.out = ""

    def port(self) -> int:
        return 2000

    def add(self, service: VirtualService) -> VirtualService:
        return service

    def run(self, script: str) -> str:
        self.scripts.append(script)
        return self.out

    def apply(self, script: str, undo: str) -> None:
        self.scripts.append(script)


def rig(scheduler: Scheduler = Scheduler.RR, **options: object) -> tuple[Rig, Recorder]:
    bench = Recorder()
    return Rig(cast(Bench, bench), scheduler, (1, 2), **options), bench


def test_changes_are_one_script_in_ipvsadms_words_and_reach_the_model() -> None:
    made, bench = rig()
    made.change(Change("edit", 1, 0), Change("remove", 2), Change("add", 3, 5, 10, 4))
    assert bench.scripts == [
        "set -e\n"
        "ipvsadm -e -t 10.0.0.10:2000 -r 10.0.1.11:8080 -m -w 0\n"
        "ipvsadm -d -t 10.0.0.10:2000 -r 10.0.1.12:8080\n"
        "ipvsadm -a -t 10.0.0.10:2000 -r 10.0.1.13:8080 -m -w 5 -x 10 -y 4"
    ]
    assert [(each.number, each.weight, each.upper, each.lower) for each in made.model.servers] == [
        (3, 5, 10, 4),
        (1, 0, 0, 0),
    ]


def test_ipv6_endpoints_stand_in_brackets_and_marks_have_their_own_words() -> None:
    made, bench = rig(version=6)
    made.change(Change("edit", 1, 4))
    assert bench.scripts[-1].endswith(
        "ipvsadm -e -t '[2001:db8::10]:2000' -r '[2001:db8:1::11]:8080' -m -w 4"
    )
    made, bench = rig(version=6, many_addresses=True)
    made.change(Change("remove", 1))
    assert bench.scripts[-1].endswith("ipvsadm -d -f 2000 -6 -r '[2001:db8:1::11]:8080'")


def test_another_scheduler_keeps_the_service_and_reaches_the_model() -> None:
    made, bench = rig()
    made.change_scheduler(Scheduler.SH, (SchedulerFlag.SH_PORT,))
    assert bench.scripts == ["ipvsadm -E -t 10.0.0.10:2000 -s sh -b sh-port"]
    assert made.model.scheduler is Scheduler.SH and made.service.scheduler is Scheduler.SH


def test_thresholds_that_the_kernel_refuses_are_refused_before_anything_runs() -> None:
    made, bench = rig()
    with pytest.raises(UsageError, match="lower threshold 9 is above upper threshold 1"):
        made.change(Change("edit", 1, 1, 1, 9))
    assert not bench.scripts and made.model.server(1).upper == 0


def test_counts_are_read_from_the_kernels_table() -> None:
    made, bench = rig()
    bench.out = PROC
    assert made.counts() == {1: (2, 3), 2: (0, 1)}
    with pytest.raises(CheckFailed, match="in the end: the counts"):
        made.must_count("in the end")
    bench.out = PROC.replace("2          3", "0          0").replace("0          1", "0          0")
    made.must_count("in the end")
