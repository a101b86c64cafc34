"""How a user names a kernel of Debian's: `debian/SUITE[:FLAVOUR][=VERSION]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lvslab.catalog.names import KernelName
from lvslab.errors import UsageError

SOURCE = "debian"
HOW = "debian/SUITE[:uml|:cloud|:amd64][=VERSION], for example debian/trixie:uml"

SUITES = ("bookworm", "trixie", "forky", "sid")
"""The suites that are looked at when nobody names one."""

_NAME = re.compile(
    r"debian/(?P<suite>[a-z][a-z0-9-]*)(?::(?P<flavour>[a-z0-9]+))?(?:=(?P<version>[A-Za-z0-9.+~-]+))?"
)


class Flavour(StrEnum):
    """Which of Debian's packages the kernel comes from."""

    UML = "uml"
    """user-mode-linux."""
    CLOUD = "cloud"
    """linux-image-cloud-amd64: for virtual machines, without 9p."""
    AMD64 = "amd64"
    """linux-image-amd64: the generic one."""

    @property
    def package(self) -> str:
        """The package that a suite offers; of a stock kernel the one that only depends on the
        newest release's.
        """
        return {
            Flavour.UML: "user-mode-linux",
            Flavour.CLOUD: "linux-image-cloud-amd64",
            Flavour.AMD64: "linux-image-amd64",
        }[self]


@dataclass(frozen=True)
class Spec(KernelName):
    """A kernel of Debian's as the user names it."""

    suite: str
    version: str | None = None
    flavour: Flavour = Flavour.UML

    @property
    def name(self) -> str:
        """Without a flavour User-Mode Linux is meant."""
        return f"{SOURCE}/{self.suite}" + ("" if self.flavour is Flavour.UML else f":{self.flavour}")

    def __str__(self) -> str:
        return f"{SOURCE}/{self.suite}:{self.flavour}" + (f"={self.version}" if self.version else "")

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read it.

        Raises:
            UsageError: it is written otherwise.
        """
        words = _NAME.fullmatch(text)
        if not words:
            raise UsageError(f"kernel '{text}': unknown; write {HOW}")
        try:
            flavour = Flavour(words["flavour"] or Flavour.UML)
        except ValueError:
            raise UsageError(
                f"kernel '{text}': unknown kind '{words['flavour']}'; there is: {', '.join(Flavour)}"
            ) from None
        return cls(words["suite"], words["version"], flavour)
