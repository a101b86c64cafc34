"""Values of a lab that differ from student to student, so that what one has found does not solve
another's lab: the network's addresses, and which of two servers is the one that matters.

They are put into the lab's own file before Python reads it, and into the plan of its network. So
page, hints, scripts, solution and exam speak of the same values, and a lab needs to do nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

_T = TypeVar("_T")

_PACKAGE = "lvslab."
_NARROW, _ALL = range(11, 100), (*range(11, 100), *range(100, 255))
"""Second parts of a network's addresses; the narrow ones first, since pages have drawings."""

_ADDRESS = re.compile(r"(?<![\d.])10\.0(?=\.\d)")
_PART = re.compile(rf"{_ADDRESS.pattern}|(?P<gap> {{2,}})")


@dataclass(frozen=True)
class Values:
    """What one student's labs have.

    Attributes:
        network: all labs are written for 10.0.x.y; this one's addresses are 10.network.x.y.
        swapped: servers rs1 and rs2 change places in labs where they differ.
    """

    network: int = 0
    swapped: bool = False

    def in_text(self, text: str) -> str:
        """A lab's file with these values. Columns of drawings stay where they are as long as there
        is room.
        """
        return self._readdressed(_swapped(text) if self.swapped and _differ(text) else text)

    def in_plan(self, value: _T) -> _T:
        """A plan, or any part of a description, with these addresses."""
        return value if not self.network else self._walked(value)

    def _readdressed(self, text: str) -> str:
        return "".join(map(self._line, text.splitlines(keepends=True))) if self.network else text

    def _line(self, line: str) -> str:
        """What an address grows by is taken from the next wide gap, so that columns stay."""
        debt = 0

        def put(match: re.Match[str]) -> str:
            nonlocal debt
            if match["gap"]:
                paid = min(debt, len(match["gap"]) - 1)
                debt -= paid
                return match["gap"][paid:]
            debt += len(str(self.network)) - 1
            return f"10.{self.network}"

        indent = line[: len(line) - len(line.lstrip(" "))]
        return indent + _PART.sub(put, line[len(indent) :])

    def _walked(self, value: Any) -> Any:
        if isinstance(value, str):
            new = _ADDRESS.sub(f"10.{self.network}", value)
            return value if new == value else type(value)(new)
        if isinstance(value, (tuple, list, frozenset)):
            if hasattr(value, "_fields"):
                return type(value)(*(self._walked(part) for part in value))
            return type(value)(self._walked(part) for part in value)
        if isinstance(value, Mapping):
            walked = {self._walked(name): self._walked(part) for name, part in value.items()}
            return MappingProxyType(walked) if isinstance(value, MappingProxyType) else walked
        if (
            is_dataclass(value)
            and not isinstance(value, type)
            and type(value).__module__.startswith(_PACKAGE)
        ):
            return replace(
                value,
                **{part.name: self._walked(getattr(value, part.name)) for part in fields(value) if part.init},
            )
        return value


AS_WRITTEN = Values()


def _differ(text: str) -> bool:
    """Whether a lab's scripts treat two servers differently: one is prepared and the other not, or
    the table begins with one of them drained.
    """
    return bool(re.search(r"prepare=\{\"rs2\"|weights\": \(1, 0\)|weights\": \[1, 0\]", text))


def _swapped(text: str) -> str:
    """rs1 and rs2, and their addresses, in each other's place."""
    names = {"rs1": "rs2", "rs2": "rs1", ".11": ".12", ".12": ".11", "(1, 0)": "(0, 1)", "[1, 0]": "[0, 1]"}
    pattern = r"\brs[12]\b|(?<=\d)\.1[12](?![\d.])|(?<=weights\": )[(\[]1, 0[)\]]"
    return re.sub(pattern, lambda match: names[match[0]], text)


def draw(
    secret: bytes, students: Iterable[str], kept: Mapping[str, Values] | None = None
) -> dict[str, Values]:
    """Student → values. Everybody has another network, up to 244 of them; somebody who joins a
    class at the end of its list changes nobody's values.

    Args:
        kept: that were drawn before, and stay.
    """
    drawn = dict(kept or {})
    taken = {values.network for values in drawn.values()}
    for student in students:
        digest = hmac.new(secret, f"values\n{student}".encode(), hashlib.sha256).digest()
        networks = _NARROW if not taken.issuperset(_NARROW) else _ALL
        first = int.from_bytes(digest[:4], "big")
        order = [networks[(first + step) % len(networks)] for step in range(len(networks))]
        network = next((number for number in order if number not in taken), order[0])
        taken.add(network)
        drawn[student] = Values(network, bool(digest[4] & 1))
    return drawn
