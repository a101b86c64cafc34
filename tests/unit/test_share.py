"""How requests were shared out is judged by what the scheduler promises."""

from __future__ import annotations

import pytest

from lvslab.ipvs.service import Scheduler
from lvslab.verify.verification import share_check

SERVERS = ("rs1", "rs2", "rs3")
ONE_SIDED = [("10.0.0.101", "rs3")] * 6
IN_TURN = [("10.0.0.101", SERVERS[number % 3]) for number in range(6)]
BY_CLIENT = [(f"10.0.0.{host}", SERVERS[host % 3]) for host in (101, 102, 103, 101, 102, 103)]


@pytest.mark.parametrize(
    ("scheduler", "answers", "verdict", "said"),
    [
        ("rr", IN_TURN, "pass", "rr: rs1 2, rs2 2, rs3 2"),
        ("wrr", ONE_SIDED, "fail", "wrr: rs1 0, rs2 0, rs3 6; they may differ by 1 at most"),
        ("mh", ONE_SIDED, "pass", "mh: rs1 0, rs2 0, rs3 6"),
        ("sh", BY_CLIENT, "pass", "sh: rs1 2, rs2 2, rs3 2"),
        ("sh", IN_TURN, "fail", "a client stays with one server"),
        ("sed", ONE_SIDED, "pass", "this scheduler promises no shares"),
        ("lc", IN_TURN, "pass", "this scheduler promises no shares"),
    ],
)
def test_a_share_is_judged_by_its_scheduler(
    scheduler: str, answers: list[tuple[str, str | None]], verdict: str, said: str
) -> None:
    check = share_check(Scheduler(scheduler), SERVERS, answers)
    assert check.verdict == verdict and said in check.reason
