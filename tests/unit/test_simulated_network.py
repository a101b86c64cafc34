"""Links, switches and the record of simulated networks, to the nanosecond."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvslab.errors import UsageError
from lvslab.simulation.calendar import Calendar
from lvslab.simulation.network import Conditions, Link, Record, Switch
from lvslab.simulation.network.switch import AGEING
from tests.unit.simulated import MILLISECOND, SECOND, Card


def _frame(number: int, length: int = 60, to: int = 2, source: int = 1) -> bytes:
    head = bytes.fromhex(f"0200000000{to:02x}0200000000{source:02x}0800")
    return head + number.to_bytes(4, "big") + bytes(length - 18)


def _numbers(card: Card) -> list[int]:
    return [int.from_bytes(frame[14:18], "big") for frame in card.frames]


def _linked(conditions: Conditions, seed: int = 0) -> tuple[Calendar, Card, Card, Link]:
    calendar = Calendar()
    a, b = Card(calendar), Card(calendar)
    return calendar, a, b, Link(calendar, a, b, conditions, seed=seed)


# -- links -----------------------------------------------------------------------------------------


def test_a_frame_arrives_after_the_delay() -> None:
    calendar, a, b, _ = _linked(Conditions(delay=7_000_123))
    calendar.at(5, a.transmit, _frame(1))
    calendar.run(SECOND)
    assert b.heard == [(7_000_128, _frame(1))]


def test_the_rate_spaces_frames_and_the_queue_drops_what_finds_no_room() -> None:
    # 1000 octets at 8 Mbit/s: one frame a millisecond
    calendar, a, b, link = _linked(Conditions(delay=3, rate=8e6, queue=2))
    for number in range(5):
        a.transmit(_frame(number, 1000))
    calendar.run(SECOND)
    assert [time for time, _ in b.heard] == [MILLISECOND + 3, 2 * MILLISECOND + 3, 3 * MILLISECOND + 3]
    assert _numbers(b) == [0, 1, 2]  # one is being sent, two wait
    assert (link.forth.sent, link.forth.lost) == (5, 2)


def test_loss_and_duplicates_have_their_shares() -> None:
    calendar, a, b, link = _linked(Conditions(loss=0.25, duplicate=0.1))
    for number in range(10_000):
        a.transmit(_frame(number))
    calendar.run(SECOND)
    numbers = _numbers(b)
    assert link.forth.lost == 10_000 - len(set(numbers))
    assert 2300 < link.forth.lost < 2700  # five standard deviations are 217
    assert 600 < len(numbers) - len(set(numbers)) < 900


def test_reordered_frames_overtake_by_the_delay() -> None:
    calendar, a, b, _ = _linked(Conditions(delay=MILLISECOND, reorder=0.5))
    for number in range(100):
        a.transmit(_frame(number))
    calendar.run(SECOND)
    times = {time for time, _ in b.heard}
    assert times == {0, MILLISECOND} and _numbers(b) != sorted(_numbers(b))


def test_jitter_stays_within_its_bounds() -> None:
    calendar, a, b, _ = _linked(Conditions(delay=1000, jitter=300))
    for number in range(1000):
        a.transmit(_frame(number))
    calendar.run(SECOND)
    times = [time for time, _ in b.heard]
    assert len(times) == 1000 and min(times) < 720 and max(times) > 1280
    assert min(times) >= 700 and max(times) <= 1300


def test_frames_longer_than_the_mtu_are_lost() -> None:
    calendar, a, b, link = _linked(Conditions(mtu=100))
    a.transmit(_frame(1, 114))
    a.transmit(_frame(2, 115))
    calendar.run(SECOND)
    assert _numbers(b) == [1] and link.forth.lost == 1


def test_a_cut_link_loses_what_is_on_its_way() -> None:
    calendar, a, b, link = _linked(Conditions(delay=100))
    for time in (0, 60, 120, 200):
        calendar.at(time, a.transmit, _frame(time))
    calendar.at(50, setattr, link, "up", False)
    calendar.at(90, setattr, link, "up", True)
    calendar.run(SECOND)
    assert _numbers(b) == [120, 200] and link.forth.lost == 2 and link.up


def test_what_happens_one_way_changes_nothing_the_other_way() -> None:
    def heard(back: int) -> list[int]:
        calendar, a, b, _ = _linked(Conditions(loss=0.5), seed=3)
        for number in range(200):
            a.transmit(_frame(number))
            for _ in range(back):
                b.transmit(_frame(number))
        calendar.run(SECOND)
        return _numbers(b)

    assert heard(0) == heard(3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": 1.5}, "loss: a share lies between 0 and 1"),
        ({"delay": -1}, "delay -1 ns"),
        ({"jitter": 5}, "jitter 5 ns"),
        ({"reorder": 0.1}, "without a delay"),
        ({"rate": float("inf")}, "rate inf"),
        ({"queue": 0}, "queue 0"),
        ({"mtu": 67}, "mtu 67"),
    ],
)
def test_conditions_that_no_link_can_have_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Conditions(**wrong)


# -- switches --------------------------------------------------------------------------------------


def _switched(count: int = 4) -> tuple[Calendar, Switch, list[Card]]:
    """Cards 02:…:00, 02:…:01, … at ports of the same numbers."""
    calendar = Calendar()
    switch = Switch(calendar)
    cards = [Card(calendar) for _ in range(count)]
    for card in cards:
        Link(calendar, card, switch.port())
    return calendar, switch, cards


def _say(calendar: Calendar, cards: list[Card], source: int, to: int) -> list[int]:
    """Who hears a frame."""
    for card in cards:
        card.heard.clear()
    cards[source].transmit(_frame(0, to=to, source=source))
    calendar.run(calendar.now)
    return [number for number, card in enumerate(cards) if card.heard]


def test_a_switch_floods_until_it_has_learned() -> None:
    calendar, switch, cards = _switched()
    assert _say(calendar, cards, 0, 1) == [1, 2, 3]
    assert _say(calendar, cards, 1, 0) == [0]
    assert _say(calendar, cards, 0, 1) == [1]
    assert switch.learned() == {bytes.fromhex("020000000000"): 0, bytes.fromhex("020000000001"): 1}


def test_a_switch_forgets_in_time_and_when_told() -> None:
    calendar, switch, cards = _switched()
    _say(calendar, cards, 1, 0)
    calendar.run(AGEING)
    assert _say(calendar, cards, 0, 1) == [1]
    calendar.run(AGEING + 1)
    assert _say(calendar, cards, 0, 1) == [1, 2, 3] and len(switch.learned()) == 1
    _say(calendar, cards, 1, 0)
    switch.forget(switch.ports[1])
    assert _say(calendar, cards, 0, 1) == [1, 2, 3]


def test_an_address_that_moves_is_learned_anew() -> None:
    calendar, _, cards = _switched()
    _say(calendar, cards, 1, 0)
    cards[3].transmit(_frame(0, to=0, source=1))
    calendar.run(0)
    assert _say(calendar, cards, 0, 1) == [3]


def test_the_sides_of_a_parted_network_hear_nothing_from_each_other() -> None:
    calendar, switch, cards = _switched(5)
    ports = switch.ports
    _say(calendar, cards, 2, 0)
    switch.part(ports[:2], ports[2:4])
    assert _say(calendar, cards, 0, 2) == []  # learned, but cut off
    assert _say(calendar, cards, 0, 9) == [1]
    assert _say(calendar, cards, 4, 9) == []
    switch.heal()
    assert _say(calendar, cards, 0, 9) == [1, 2, 3, 4]


# -- the record ------------------------------------------------------------------------------------


def test_the_hash_does_not_depend_on_who_is_noted_first_in_a_nanosecond() -> None:
    def digest(order: list[int]) -> str:
        calendar = Calendar()
        record = Record(calendar)
        for card in order:
            calendar.at(7, record.note, card, 1, bytes([card]))
        calendar.at(9, record.note, 0, 1, b"x")
        calendar.run(10)
        return record.digest()

    assert digest([0, 1, 2]) == digest([2, 0, 1]) != digest([0, 1, 1])


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), other=st.integers(0, 1000))
def test_the_same_seed_gives_the_same_hash(seed: int, other: int) -> None:
    def digest(seed: int) -> str:
        calendar = Calendar()
        record = Record(calendar)
        a, b = Card(calendar), Card(calendar)
        conditions = Conditions(delay=1000, jitter=900, loss=0.3, duplicate=0.2, reorder=0.1)
        Link(calendar, record.tap("a", a), record.tap("b", b), conditions, seed=seed)
        chance = random.Random(1)
        for number in range(50):
            calendar.at(chance.randrange(5000), (a, b)[number & 1].transmit, _frame(number))
        calendar.run(SECOND)
        return record.digest()

    assert digest(seed) == digest(seed)
    assert (digest(seed) == digest(other)) == (seed == other)


def test_the_record_is_written_as_a_capture_with_names_and_nanoseconds(tmp_path: Path) -> None:
    from scapy.utils import PcapNgReader

    calendar = Calendar()
    record = Record(calendar, keep=True)
    a, b = Card(calendar), Card(calendar)
    Link(calendar, record.tap("a", a), record.tap("b", b), Conditions(delay=1))
    calendar.at(123_456_789, a.transmit, _frame(7))
    calendar.run(SECOND)
    record.write(tmp_path / "all.pcapng", epoch=SECOND)
    with PcapNgReader(str(tmp_path / "all.pcapng")) as reader:
        packets = list(reader)
    assert [bytes(packet) for packet in packets] == [_frame(7)] * 2
    assert [packet.sniffed_on for packet in packets] == ["a", "b"]
    assert [packet.direction for packet in packets] == [2, 1]
    assert round(float(packets[1].time) * 1e9) == pytest.approx(1_123_456_790, abs=200)
