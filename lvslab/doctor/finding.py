"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Certainty(IntEnum):
    """How sure a finding is; larger is surer."""

    LIKELY = 1
    """What was seen fits this fault best; another one could look the same."""
    CERTAIN = 2
    """With what was read, the kernel cannot do otherwise."""

    @property
    def word(self) -> str:
        """For people."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """A fault.

    Attributes:
        fault: its id, stable, for scripts: "ip-forward-off".
        sentence: what is wrong and what it does, in plain words.
        evidence: lines of what was read or seen, each with the machine it comes from.
        fix: commands that mend it, each preceded by the machine: "rs1# ip route replace default
            via 10.0.1.1".
        certainty: how sure it is.
        afterwards: what to do once all machines are mended.
    """

    fault: str
    sentence: str
    evidence: tuple[str, ...]
    fix: tuple[str, ...]
    certainty: Certainty = Certainty.CERTAIN
    afterwards: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `lvslab doctor --json` prints it: an entry of `results`."""
        return {
            "name": self.fault,
            "verdict": "fail",
            "reason": self.sentence,
            "certainty": self.certainty.word,
            "evidence": list(self.evidence),
            "fix": [*self.fix, *self.afterwards],
        }
