"""How a user names a kernel of the catalog: `SOURCE/KERNEL[=VERSION]`, each source in its own way
(sources.py), or `local/NAME`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import PurePath

from lvslab.errors import UsageError

LOCAL = "local"
"""First word of the names of kernels that were built or added here."""

_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class KernelName(ABC):
    """A kernel of the catalog as the user names it; as text in full.

    Attributes:
        version: the one that is meant, None for the newest, "" for a kernel that has none.
    """

    version: str | None

    @property
    @abstractmethod
    def name(self) -> str:
        """The short name, which all versions share."""

    def __str__(self) -> str:
        return f"{self.name}={self.version}" if self.version else self.name

    @property
    def place(self) -> PurePath:
        """Where its versions lie, below the cache."""
        return PurePath(*re.split("[/:]", self.name))

    @property
    def how_to_get(self) -> str:
        """The command that gets it."""
        return f"lvslab kernels fetch {self}"


@dataclass(frozen=True)
class LocalName(KernelName):
    """A kernel that was built or added here: `local/NAME`."""

    label: str
    version = ""

    @property
    def name(self) -> str:
        """As the user says it."""
        return f"{LOCAL}/{self.label}"

    @property
    def how_to_get(self) -> str:
        """Either command that makes one of this name."""
        return (
            f"lvslab kernels build TREE --name {self.label}, or lvslab kernels add PATH --name {self.label}"
        )

    @classmethod
    def parse(cls, text: str) -> LocalName:
        """Read it, with or without `local/`.

        Raises:
            UsageError: it is no name.
        """
        label = text.removeprefix(f"{LOCAL}/")
        if not _LOCAL.fullmatch(label):
            raise UsageError(
                f"kernel name '{text}': write letters, digits and . _ + - only, for example local/mine"
            )
        return cls(label)
