"""The suite without a kernel: what checks there are, how they are chosen, and what is said of
packets that differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from lvslab.conformance import checks
from lvslab.conformance.check import Check, all_checks, select, timer_checks
from lvslab.conformance.checks import MODULES
from lvslab.conformance.checks.states.stories import lives
from lvslab.conformance.entries import agreed
from lvslab.conformance.packets import changed, differences, must, must_equal
from lvslab.conformance.runner import run_checks
from lvslab.conformance.verdict import CheckFailed, CheckSkipped
from lvslab.errors import UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection
from lvslab.kernels.needs import Need

CHECKS = all_checks()
TIMERS = timer_checks()


def test_there_are_many_checks_and_each_says_what_it_expects() -> None:
    assert len(CHECKS) == 1101 == len({each.name for each in CHECKS})
    for each in (*CHECKS, *TIMERS):
        assert re.fullmatch(r"[a-z0-9]+(:[A-Za-z0-9_.,+=-]+)+", each.name), each.name
        assert len(each.expects) > 15 and "{" not in each.expects, each.name
        assert each.tags[0] == each.name.partition(":")[0] and not [
            tag for tag in each.tags if "{" in tag or " " in tag
        ]


def test_every_module_with_checks_has_its_place_in_the_order() -> None:
    here = Path(checks.__file__).parent
    written = {
        ".".join(path.relative_to(here).with_suffix("").parts)
        for path in here.rglob("*.py")
        if re.search(r"^@check\(", path.read_text(), re.MULTILINE)
    }
    placed = (*MODULES, *checks.TIMERS)
    assert len(placed) == len(set(placed)) and set(placed) == written


def _refuse(bench: object) -> None:
    raise UsageError("real server 10.0.0.1: weight 70000 is outside 0..65535")


def _break(bench: object) -> None:
    [][0]


@pytest.mark.parametrize(
    ("body", "words"),
    [(_refuse, "weight 70000"), (_break, "the check itself broke: IndexError: list index out of range")],
)
def test_what_goes_wrong_inside_a_check_fails_that_check_and_names_it(
    body: Callable[[object], None], words: str, tmp_path: Path
) -> None:
    chosen = [
        replace(CHECKS[0], body=body, values={}),
        replace(CHECKS[1], body=lambda bench: None, values={}),
    ]
    bench: Any = SimpleNamespace(
        lab=SimpleNamespace(plan=SimpleNamespace(director=SimpleNamespace(needs=set(Need)))),
        log=[],
        reset=lambda: "",
    )
    first, second = run_checks(bench, chosen, tmp_path)
    assert (first.check.name, first.verdict) == (CHECKS[0].name, "fail") and words in first.reason
    assert second.verdict == "pass", "the suite goes on"


def test_two_checks_with_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lvslab.conformance.check.MODULES", ("ops", "ops"))
    with pytest.raises(ValueError, match="same name: ops:"):
        all_checks()


def test_checks_are_chosen_by_name_and_tag() -> None:
    subject = CHECKS[0].tags[0]
    assert select(CHECKS, [f"{subject}:*"]) == [
        each for each in CHECKS if each.name.startswith(f"{subject}:")
    ]
    assert select(CHECKS, [], [subject]) == [each for each in CHECKS if subject in each.tags]
    assert select(CHECKS, []) == CHECKS
    assert select(CHECKS, [CHECKS[0].name, CHECKS[-1].name]) == [CHECKS[0], CHECKS[-1]]


@pytest.mark.parametrize(
    ("only", "tags", "words"),
    [(["nosuch:*"], [], "no check has such a name"), ([], ["nosuch"], "no check has it")],
)
def test_a_choice_of_nothing_is_wrong_input(only: list[str], tags: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        select(CHECKS, only, tags)


FRAME = Ether(
    bytes(
        Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / IP(src="10.0.0.1", dst="10.0.0.2", ttl=64)
        / TCP(sport=1, dport=2)
    )
)


def test_a_wrong_packet_is_shown_beside_the_expected_one() -> None:
    wrong = changed(FRAME, lambda frame: setattr(frame[IP], "ttl", 63))
    with pytest.raises(CheckFailed, match=r"the request: IP.ttl: expected 64, seen 63") as caught:
        must_equal(wrong, FRAME, "the request")
    assert any(line.startswith("expected: ") for line in caught.value.detail) and any(
        line.startswith("seen: ") for line in caught.value.detail
    )


def test_another_protocol_is_named() -> None:
    other = Ether(
        bytes(
            Ether(src=FRAME.src, dst=FRAME.dst) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2)
        )
    )
    assert "expected TCP here, seen UDP" in differences(FRAME, other)


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(1, 255))
def test_a_changed_packet_has_right_checksums(sport: int, dport: int, ttl: int) -> None:
    def change(frame: Ether) -> None:
        frame[IP].ttl, frame[TCP].sport, frame[TCP].dport = ttl, sport, dport

    found = changed(FRAME, change)
    fresh = (
        Ether(src=FRAME.src, dst=FRAME.dst)
        / IP(src="10.0.0.1", dst="10.0.0.2", ttl=ttl)
        / TCP(sport=sport, dport=dport)
    )
    assert bytes(found) == bytes(fresh) and not differences(found, fresh)


def test_equal_packets_do_not_differ() -> None:
    must_equal(FRAME, FRAME, "it")
    must(True, "never")
    with pytest.raises(CheckFailed, match="said"):
        must(False, "said")


@pytest.mark.parametrize(
    ("shown", "good"), [(61, False), (60, True), (59, True), (56, True), (55, False), (0, False)]
)
def test_a_lifetime_is_judged_by_the_time_that_has_passed(
    monkeypatch: pytest.MonkeyPatch, shown: int, good: bool
) -> None:
    here = Endpoint("10.0.0.1", 1)
    connection = Connection("TCP", shown, "SYN_RECV", here, here, here)
    monkeypatch.setattr("time.monotonic", lambda: 102.5)
    assert lives(connection, 60, since=100.0) == good
    assert not lives(None, 60, since=100.0)


def listed(*ports: int, expires: int = 60) -> list[Connection]:
    """Entries of clients that have these ports."""
    here = Endpoint("10.0.0.1", 1)
    return [
        Connection("TCP", expires, "ESTABLISHED", Endpoint("10.0.0.2", port), here, here) for port in ports
    ]


def test_an_entry_that_one_reading_passed_over_is_found() -> None:
    readings: Iterator[list[Connection]] = iter(
        [listed(1, 3), listed(1, 2, 3, expires=59), listed(3, 2, 1, expires=58)]
    )
    assert agreed(lambda: next(readings)) == listed(3, 2, 1, expires=58)
    assert not list(readings)


def test_a_table_that_never_stands_still_is_not_judged() -> None:
    numbers = iter(range(100))
    with pytest.raises(CheckSkipped, match="changed during each of 20 readings"):
        agreed(lambda: listed(next(numbers)))


@pytest.mark.parametrize(
    ("spoilt_by", "late", "verdict"),
    [(2.0, 2.1, "skip"), (2.0, 1.9, "fail"), (None, 60.0, "fail"), (2.0, 0.0, "fail")],
)
def test_a_failure_that_a_late_machine_explains_is_not_judged(
    tmp_path: Path, spoilt_by: float | None, late: float, verdict: str
) -> None:
    bench: Any = SimpleNamespace(
        log=[],
        reset=lambda: "",
        lab=SimpleNamespace(plan=SimpleNamespace(director=SimpleNamespace(needs=()))),
    )
    check = Check(
        "a:b", "it holds", ("a",), frozenset(), lambda bench: must(False, "it is gone"), {}, spoilt_by
    )
    (outcome,) = run_checks(bench, [check], tmp_path, lambda since, until: late)
    assert outcome.verdict == verdict
    not_judged = "not judged: the machine was late by 2.1 s: it is gone"
    assert outcome.reason == (not_judged if verdict == "skip" else "it is gone")
