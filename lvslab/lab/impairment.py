"""What may be wrong with a link that still carries packets, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvslab.errors import UsageError


@dataclass(frozen=True)
class Impairment:
    """How packets suffer on their way, in the terms of tc-netem(8).

    Attributes:
        delay, jitter: seconds.
        loss, duplicate, reorder: shares, 0..1; reordered packets overtake delayed ones, so they
            need a delay.
        rate: bit/s; 0: not limited.

    Raises:
        UsageError: the values make no sense.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        for name, share in self._shares.items():
            if not 0 <= share <= 1:
                raise UsageError(f"impaired link: {name} {share:g} is no share; give 0 to 1")
        if min(self.delay, self.jitter, self.rate) < 0:
            raise UsageError("impaired link: delay, jitter and rate are not negative")
        if self.reorder and not self.delay:
            raise UsageError("impaired link: reordered packets overtake delayed ones; give a delay too")
        if not self.words:
            raise UsageError(
                "impaired link: nothing is impaired; give delay, loss, duplicate, reorder or rate"
            )

    @property
    def _shares(self) -> Mapping[str, float]:
        return {"loss": self.loss, "duplicate": self.duplicate, "reorder": self.reorder}

    @property
    def words(self) -> str:
        """As `tc qdisc … netem` takes it."""
        words = []
        if self.delay or self.jitter:
            jitter = f" {self.jitter * 1000:g}ms" if self.jitter else ""
            words.append(f"delay {self.delay * 1000:g}ms{jitter}")
        words += [f"{name} {share:.4%}" for name, share in self._shares.items() if share]
        if self.rate:
            words.append(f"rate {self.rate:.0f}bit")
        return " ".join(words)
