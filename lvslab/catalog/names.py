"""How a user names a kernel that is not the machine's own: `debian/SUITE[:FLAVOUR][=VERSION]` or
`local/NAME`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lvslab.errors import UsageError


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


SUITES = ("bookworm", "trixie", "forky", "sid")
"""The suites that are looked at when nobody names one."""

_DEBIAN = re.compile(
    r"debian/(?P<suite>[a-z][a-z0-9-]*)(?::(?P<flavour>[a-z0-9]+))?(?:=(?P<version>[A-Za-z0-9.+~-]+))?"
)
_LOCAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_HOW = "write debian/SUITE[:uml|:cloud|:amd64][=VERSION], for example debian/trixie:uml, or local/NAME"


@dataclass(frozen=True)
class Spec:
    """A kernel of Debian's as the user names it; without a version the newest there is."""

    suite: str
    version: str | None = None
    flavour: Flavour = Flavour.UML

    @property
    def name(self) -> str:
        """The short name, under which the newest version is found."""
        return f"debian/{self.suite}" + ("" if self.flavour is Flavour.UML else f":{self.flavour}")

    def __str__(self) -> str:
        return f"debian/{self.suite}:{self.flavour}" + (f"={self.version}" if self.version else "")

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read it.

        Raises:
            UsageError: it is written otherwise.
        """
        found = _DEBIAN.fullmatch(text)
        if not found:
            raise UsageError(f"kernel '{text}': unknown; {_HOW}")
        try:
            flavour = Flavour(found["flavour"] or Flavour.UML)
        except ValueError:
            raise UsageError(
                f"kernel '{text}': unknown kind '{found['flavour']}'; there is: {', '.join(Flavour)}"
            ) from None
        return cls(found["suite"], found["version"], flavour)


@dataclass(frozen=True)
class LocalName:
    """A kernel that was built or added here: `local/NAME`."""

    label: str

    def __str__(self) -> str:
        return f"local/{self.label}"

    @classmethod
    def parse(cls, text: str) -> LocalName:
        """Read it, with or without `local/`.

        Raises:
            UsageError: it is no name.
        """
        label = text.removeprefix("local/")
        if not _LOCAL.fullmatch(label):
            raise UsageError(
                f"kernel name '{text}': write letters, digits and . _ + - only, for example local/mine"
            )
        return cls(label)


def parse_name(text: str) -> Spec | LocalName:
    """Read either kind of name.

    Raises:
        UsageError: it is neither.
    """
    return LocalName.parse(text) if text.startswith("local/") else Spec.parse(text)
