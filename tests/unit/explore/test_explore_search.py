"""The search itself, without a world: what is tried next, what is found, when it ends; and the
scenario that a finding is written as.
"""

from __future__ import annotations

from pathlib import Path

from lvslab.explore.records import Violation
from lvslab.explore.schedule import Case, Injection, Setup, read_case
from lvslab.explore.searching import Finding, Limit, Search, over
from lvslab.explore.trying import Tried
from lvslab.explore.writing import write_finding
from lvslab.scenario import description

KILL = Injection(5.0, "server-killed", "rs1", 0.3)
STEP = Injection(6.0, "clock-stepped", "lvs1", 0.0, {"seconds": 2})


def drawn(seed: int) -> Case:
    """Every third world has what fails, and something else."""
    return Case(seed, Setup(), (KILL, STEP) if seed % 3 == 0 else (STEP,))


def tried(case: Case) -> Tried:
    fails = any(injection.kind == KILL.kind for injection in case.schedule)
    violation = Violation("answered-in-time", "HTTP, in vain", 9.0, "3 of 5 new connections failed")
    return Tried(case, (violation,) if fails else (), 1.0, "abc")


def searched(tries: int) -> tuple[Search, list[Finding]]:
    search = Search(drawn, 1, clock=lambda: 0.0)
    told: list[Finding] = []
    while not over(search, Limit(tries=tries)):
        case = search.next_case()
        assert case is not None
        told += search.take(tried(case))
    return search, told


def test_a_failure_is_told_once_when_it_is_seen_and_once_when_it_is_shortest() -> None:
    search, told = searched(40)
    assert [finding.shrunk for finding in told] == [False, True]
    assert told[0].tries == 3 and told[0].drawn == drawn(3)
    assert told[1].shortest.case.schedule == (KILL,)
    assert search.findings == [told[1]] and search.seen[told[1].violation.fingerprint] > 2


def test_a_search_without_failures_finds_nothing() -> None:
    assert not searched(2)[0].findings


def test_worlds_under_way_count_against_the_limit() -> None:
    search = Search(drawn, 1)
    assert over(search, Limit(tries=2), under_way=2) and not over(search, Limit(tries=2), under_way=1)
    assert over(search, Limit(seconds=0.0)) and not over(search, Limit(seconds=1000.0))


def test_a_finding_is_a_scenario_of_a_few_lines_and_a_schedule(tmp_path: Path) -> None:
    finding = searched(40)[1][-1]
    file = write_finding(tmp_path, finding)
    assert file.name == "answered_in_time_http_in_vain.py"
    lines = [line for line in file.read_text().splitlines() if line]
    assert len(lines) <= 12, lines
    scenario = description.load(str(file), {})
    assert scenario.title == "answered-in-time: HTTP, in vain" and scenario.modes == ("nat",)
    assert read_case(file.with_suffix(".toml")) == finding.shortest.case
