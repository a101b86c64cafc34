"""Whose the virtual address is."""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.explore.records import Record, Violation
from lvslab.explore.stretches import covered, present
from lvslab.explore.wires import arp_answers

NAME = "one-director-answers"

_ANSWER_SECONDS = 0.5


def one_director_answers(record: Record) -> Iterator[Violation]:
    """When all has been healed, exactly one director answers ARP for the virtual address."""
    if not covered(record, present(record, record.asked)):
        return
    names = answering(record)
    if len(names) == 1:
        return
    how = "several do" if names else "none does"
    who = " and ".join(names) or "no director"
    yield Violation(NAME, how, record.asked, f"{who} answered ARP for {record.net.vip}")


def answering(record: Record) -> list[str]:
    """The directors that answered the client's question at the end."""
    asked = [frame for frame in record.frames if record.asked <= frame.t <= record.asked + _ANSWER_SECONDS]
    names = {frame.node for frame in arp_answers(asked, record.net.vip)}
    return [name for name in record.net.directors if name in names]
