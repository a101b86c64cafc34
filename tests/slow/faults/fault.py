"""What a fault is, and how it gets into a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SWITCH = "lvslab_fault"
"""Parameter of ip_vs: the number of the fault that is on, 0 for none."""


@dataclass(frozen=True)
class Fault:
    """One edit.

    Attributes:
        name: SUBJECT-WHAT. file: below net/netfilter/ipvs.
        after: texts that come before the edited one, in order, so that it is the first behind them.
        old, new: a whole expression, or whole statements (which end with a semicolon or a brace).
        story: what is wrong then; the upstream fix where it was a fault of history.
        seen_by: patterns of checks of which one must fail.
        equivalent: why nothing can see it, "" where something must.
    """

    name: str
    file: str
    after: tuple[str, ...]
    old: str
    new: str
    story: str
    seen_by: tuple[str, ...]
    equivalent: str = ""

    def switched(self, number: int) -> str:
        """The text that does `new` while the switch is at `number`, else `old`."""
        if self.old.rstrip().endswith((";", "}")):
            return f"if ({SWITCH} == {number}) {{ {self.new} }} else {{ {self.old} }}"
        return f"({SWITCH} == {number} ? ({self.new}) : ({self.old}))"


def place(fault: Fault, text: str) -> int:
    """Where the old text stands.

    Raises:
        ValueError: it is not there, or not behind what comes before it.
    """
    at = 0
    for landmark in (*fault.after, fault.old):
        at = text.find(landmark, at)
        if at < 0:
            raise ValueError(f"{fault.name}: '{landmark}' is not in {fault.file}, or not in this order")
        if landmark != fault.old:
            at += len(landmark)
    return at


def edited(texts: Mapping[str, str], faults: Sequence[Fault]) -> dict[str, str]:
    """The sources with all faults in them, each behind its number: from 1, in the order given.

    Raises:
        ValueError: one has no place, or two share theirs.
    """
    changed = dict(texts)
    for file in {fault.file for fault in faults}:
        own = [
            (place(fault, texts[file]), number, fault)
            for number, fault in enumerate(faults, start=1)
            if fault.file == file
        ]
        own.sort(key=lambda each: each[0])
        _must_be_apart(own)
        text = texts[file]
        for at, number, fault in reversed(own):
            text = text[:at] + fault.switched(number) + text[at + len(fault.old) :]
        changed[file] = text
    return changed


def _must_be_apart(places: Iterable[tuple[int, int, Fault]]) -> None:
    end, last = -1, ""
    for at, _, fault in places:
        if at < end:
            raise ValueError(f"{fault.name} and {last} edit the same text")
        end, last = at + len(fault.old), fault.name
