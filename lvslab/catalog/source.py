"""What a source of kernels is: somebody who has kernels of several versions, each under a name that
begins with the source's. sources.py lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from lvslab.catalog.names import KernelName
from lvslab.events import Listener

Name = TypeVar("Name", bound=KernelName)


@dataclass(frozen=True)
class Offer:
    """What a source offers of one kernel.

    Attributes:
        kernel: without version.
        versions: that can be had, newest first; none when `problem` says why.
    """

    kernel: KernelName
    versions: tuple[str, ...]
    problem: str = ""


@dataclass(frozen=True)
class LaidOut:
    """A kernel in the shape of an entry; attributes as in `CatalogEntry`."""

    origin: str
    loader: Path | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


class Delivery(ABC):
    """One version of a kernel that a source can deliver.

    Attributes:
        version: the exact one.
    """

    version: str

    @abstractmethod
    def lay_out(self, entry: Path) -> LaidOut:
        """Get the kernel and put it into an empty directory: its file under the first of its kind's
        `file_names`, its modules as `modules/RELEASE` with the tables of depmod(8), and its
        configuration as `config`, where it comes with one.

        Raises:
            CannotError: it cannot be had; says why and what helps.
        """


class KernelSource(ABC, Generic[Name]):
    """A source of kernels.

    Attributes:
        name: first word of its kernels' names.
        how: how these are written, for messages.
        about: what can be had and how it is got, in a few sentences for `fetch --help`.
    """

    name: ClassVar[str]
    how: ClassVar[str]
    about: ClassVar[str]

    @abstractmethod
    def parse(self, text: str) -> Name:
        """Read a kernel's name, which begins with the source's.

        Raises:
            UsageError: it is written otherwise.
        """

    @abstractmethod
    def newest(self, versions: Iterable[str]) -> str:
        """The newest of one kernel's versions, at least one."""

    @abstractmethod
    def offers(self, suites: Sequence[str], work: Path, tell: Listener) -> list[Offer]:
        """What can be fetched.

        Args:
            suites: those to look at, by default the usual ones; a source that has no suites has
                nothing in those that are named.
            work: an empty directory.
            tell: takes progress.

        Raises:
            UsageError: a suite's name is none.
            CannotError: the source cannot be asked at all.
        """

    @abstractmethod
    def needed_mib(self, wanted: Name) -> int:
        """Room that a fetch takes at most."""

    @abstractmethod
    def find(self, wanted: Name, work: Path, cache: Path, tell: Listener) -> Delivery:
        """The version that a name means.

        Args:
            work: a directory for the source's own files, on the cache's file system; it is thrown
                away after the delivery.
            cache: for what entries share, in a directory of the source's own.
            tell: takes progress.

        Raises:
            CannotError: there is none; says what there is.
        """
