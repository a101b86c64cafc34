"""The invariants, each on scripted records: where it holds, and where it does not."""

from __future__ import annotations

from dataclasses import replace

from lvslab.explore.invariants import addresses, answers
from lvslab.explore.records import UDP, Record, Violation
from tests.unit.explore.scripted import (
    CLIENT,
    SERVERS,
    VIP,
    WHOLE,
    arp_reply,
    attempt,
    beat,
    happened,
    segment,
    with_attempts,
)


def ways(violations: object) -> list[str]:
    """In which ways an invariant did not hold."""
    return [violation.how for violation in violations]  # type: ignore[attr-defined]


# -- answered-in-time ------------------------------------------------------------------------------

DEAD = (happened("server-power-cut", "rs1", 10.0),)


def unanswered(record: Record) -> list[Violation]:
    return list(answers.answered_in_time(record))


def test_attempts_may_fail_until_the_bound_has_passed() -> None:
    record = with_attempts(attempt(10.5, "timeout"), attempt(20.0), record=replace(WHOLE, happened=DEAD))
    assert not unanswered(record)


def test_an_attempt_that_fails_after_the_bound_is_a_violation_with_its_way() -> None:
    ends = (CLIENT, 2000, VIP, 80)
    frames = (
        segment(20.0, "c1", True, ends, flags=2),
        segment(20.0, "rs1", False, (CLIENT, 2000, SERVERS["rs1"], 8080), flags=2, to="rs1"),
    )
    record = replace(WHOLE, happened=DEAD, frames=frames)
    (violation,) = unanswered(with_attempts(attempt(20.0, "timeout"), record=record))
    assert violation.how == "HTTP, sent to a server after server-power-cut"
    assert "1 of 1 new connections failed (timeout)" in violation.sentence


def test_a_failure_that_nothing_stands_in_for_is_no_violation() -> None:
    both = (*DEAD, happened("server-killed", "rs2", 10.0))
    failing = attempt(20.0, "timeout")
    assert not unanswered(with_attempts(failing, record=replace(WHOLE, happened=both)))
    healed = (*DEAD, happened("server-killed", "rs2", 10.0, 12.0))
    assert unanswered(with_attempts(failing, record=replace(WHOLE, happened=healed)))


def test_what_was_not_done_changes_nothing() -> None:
    void = (*DEAD, replace(happened("server-killed", "rs2", 10.0), void="rs2: is off"))
    assert unanswered(with_attempts(attempt(20.0, "timeout"), record=replace(WHOLE, happened=void)))


def test_packets_for_a_director_without_the_address_are_told_apart() -> None:
    frames = (
        segment(20.0, "c1", True, (CLIENT, 2000, VIP, 5300), protocol=17, to="lvs2"),
        arp_reply(30.1, "lvs1"),
    )
    record = replace(WHOLE, happened=(happened("partition", "lvs1", 10.0, 12.0),), frames=frames)
    found = unanswered(with_attempts(attempt(20.0, "timeout"), record=record, service=UDP))
    assert ways(found) == ["UDP, sent to a director without the address"]
    assert "go to lvs2, but lvs1 has 10.0.0.10" in found[0].sentence


def test_replies_through_a_director_without_the_address_are_told_apart() -> None:
    inside = (CLIENT, 2000, SERVERS["rs1"], 8080)
    frames = (
        segment(20.0, "c1", True, (CLIENT, 2000, VIP, 80), flags=2),
        segment(20.0, "rs1", False, inside, flags=2, to="rs1"),
        segment(20.0, "rs1", True, (*inside[2:], *inside[:2]), flags=18, to="lvs2"),
        arp_reply(30.1, "lvs1"),
    )
    record = replace(WHOLE, happened=(happened("partition", "lvs1", 10.0, 12.0),), frames=frames)
    found = unanswered(with_attempts(attempt(20.0, "timeout"), record=record))
    assert ways(found) == ["HTTP, answered through a director without the address"]
    assert "its replies go to lvs2, while lvs1 has 10.0.0.10" in found[0].sentence


# -- one-server ------------------------------------------------------------------------------------


def test_a_connection_may_end_but_not_move() -> None:
    kept = (beat(1, 2.0), beat(1, 3.0), beat(1, 4.0, "reset", server=""), beat(2, 2.0, server="rs2"))
    assert not list(answers.one_server(replace(WHOLE, beats=kept)))
    moved = (*kept, beat(2, 5.0, server="rs1"))
    (violation,) = answers.one_server(replace(WHOLE, beats=moved))
    assert violation.sentence == "connection 2 was answered by rs2, then by rs1"


# -- one-director-answers --------------------------------------------------------------------------


def test_one_director_answers_arp() -> None:
    def of(*names: str, record: Record = WHOLE) -> list[str]:
        frames = tuple(arp_reply(30.1, name) for name in names)
        return ways(addresses.one_director_answers(replace(record, frames=frames)))

    assert not of("lvs1")
    assert of() == ["none does"]
    assert of("lvs1", "lvs2") == ["several do"]
    parted = replace(WHOLE, happened=(happened("partition", "lvs1", 10.0),))
    assert not of("lvs1", "lvs2", record=parted)  # it has not been healed


def test_answers_for_others_or_of_another_time_do_not_count() -> None:
    frames = (arp_reply(30.1, "lvs2", "10.0.0.99"), arp_reply(29.0, "lvs2"), arp_reply(30.1, "lvs1"))
    assert not list(addresses.one_director_answers(replace(WHOLE, frames=frames)))
