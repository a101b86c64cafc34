"""Debian as a source of kernels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from lvslab.catalog.debian import apt
from lvslab.catalog.debian.delivery import NEEDED_MIB, DebianDelivery
from lvslab.catalog.debian.mirror import Mirrors
from lvslab.catalog.debian.names import HOW, SOURCE, SUITES, Flavour, Spec
from lvslab.catalog.source import KernelSource, Offer
from lvslab.errors import CannotError
from lvslab.events import Listener


class Debian(KernelSource[Spec]):
    """The suites that the machine's mirrors serve."""

    name = SOURCE
    how = HOW
    about = (
        "Debian's kernels, got through apt's own tools, with signatures checked. :uml is User-Mode Linux,"
        " :amd64 the stock kernel, :cloud the one for virtual machines; both of these run under QEMU. Without"
        " a flavour :uml is meant, without a version the newest."
    )

    def parse(self, text: str) -> Spec:
        """See `Spec.parse`."""
        return Spec.parse(text)

    def newest(self, versions: Iterable[str]) -> str:
        """By Debian's order of versions."""
        return apt.newest_version(versions)

    def offers(self, suites: Sequence[str], work: Path, tell: Listener) -> list[Offer]:
        """Of each suite the three flavours; its lists of packages are fetched, some 10 MB."""
        wanted = [self.parse(f"{SOURCE}/{suite}").suite for suite in suites or SUITES]
        apt.machine_mirrors()
        return [offer for suite in wanted for offer in _offers(suite, work, tell)]

    def needed_mib(self, wanted: Spec) -> int:
        """By flavour."""
        return NEEDED_MIB[wanted.flavour]

    def find(self, wanted: Spec, work: Path, cache: Path, tell: Listener) -> DebianDelivery:
        """See `KernelSource.find`; the suite's lists of packages are fetched."""
        return DebianDelivery(wanted, work, cache, tell)


def _offers(suite: str, work: Path, tell: Listener) -> list[Offer]:
    (work / suite).mkdir()
    try:
        packages = Mirrors(work / suite, tell).serving(suite)
    except CannotError as error:
        return [Offer(Spec(suite, None, flavour), (), str(error)) for flavour in Flavour]
    offers = []
    for flavour in Flavour:
        versions = tuple(packages.versions(flavour.package, suite))
        problem = "" if versions else f"{suite} has no {flavour.package}"
        offers.append(Offer(Spec(suite, None, flavour), versions, problem))
    return offers
