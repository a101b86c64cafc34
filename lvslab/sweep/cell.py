"""A cell of a sweep: one run as pure data, with a key that names its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["run", "suite", "bench"]
"""What a cell does: a scenario, the conformance suite, or the bench."""

_KEY_DIGITS = 24
"""Hexadecimal digits of a key: 96 bits, so that no two of 10⁵ cells meet."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        title: the values of those axes that have several, and the repetition, in a line.
        axes: name → value of the plan's axes, as words of the command line: what a reader sees.
        repetition: from 1.
        words: the command that does it, after "lvslab" and without `--runs`.
        identity: everything that its result depends on, besides the machine: what is run with all
            its parameters, its repetition, the identity of the directors' kernel and the version of
            lvslab.
        timed: its numbers depend on what else the machine does, so it gets the machine for itself.
        seconds: how long it is expected to take.
    """

    title: str
    axes: Mapping[str, str]
    repetition: int
    words: tuple[str, ...]
    identity: Mapping[str, Any]
    timed: bool
    seconds: float

    @property
    def key(self) -> str:
        """Names its result: the beginning of the SHA-256 of its identity's canonical JSON."""
        text = json.dumps(self.identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]

    def to_json(self) -> dict[str, Any]:
        """As a sweep's index keeps it."""
        return {"key": self.key, **asdict(self), "words": list(self.words)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        """The cell that `to_json` gave."""
        return cls(
            title=data["title"],
            axes=data["axes"],
            repetition=data["repetition"],
            words=tuple(data["words"]),
            identity=data["identity"],
            timed=data["timed"],
            seconds=data["seconds"],
        )
