"""One commit: its kernel is built, booted, and tried by checks of the conformance suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.bisect.history import Commit
from lvslab.bisect.steps import LIVES, Symptoms, why_of
from lvslab.catalog import build, store
from lvslab.catalog.catalog import CatalogEntry
from lvslab.catalog.choice import kernels_for
from lvslab.conformance.check import Check
from lvslab.conformance.suite import Suite, run_suite
from lvslab.errors import GuestError, LabError, UsageError
from lvslab.events import Listener
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.needs import Need


@dataclass(frozen=True)
class Examiner:
    """Tries kernels.

    Attributes:
        checks: what a kernel is judged by.
        fragment: the user's configuration on top of lvslab's, or None.
        name: of the catalog's entry that each kernel takes in turn; it is removed at once.
        runs: where run directories go.
    """

    checks: Sequence[Check]
    fragment: Path | None
    name: str
    runs: Path
    tell: Listener

    def __call__(self, tree: Path, commit: Commit, wanted: frozenset[str] | None) -> Symptoms:
        """What the kernel in a directory shows.

        Raises:
            CannotError: this machine cannot build or boot kernels.
        """
        try:
            request = build.prepare(tree, self.fragment, self.name)
            entry = build.build(request, tell=self.tell)
        except GuestError as error:
            return Symptoms(frozenset([LIVES]), reason=f"it does not boot: {_line(error)}")
        except (UsageError, LabError) as error:
            return Symptoms(unbuilt=f"no kernel comes of it: {_line(error)}")
        try:
            return self._try(entry, wanted)
        finally:
            store.remove(entry, cache_directory(), self.tell)

    def _try(self, entry: CatalogEntry, wanted: frozenset[str] | None) -> Symptoms:
        chosen = [check for check in self.checks if wanted is None or LIVES in wanted or check.name in wanted]
        kernels = kernels_for(tuple(Need), entry.name)
        selected = {"only": [check.name for check in chosen]}
        try:
            suite = run_suite(chosen, None, kernels, self.tell, self.runs, [entry.name], {}, selected)
        except LabError as error:
            return Symptoms(frozenset([LIVES]), reason=f"{LIVES}: {_line(error)}")
        return _of(suite)


def _of(suite: Suite) -> Symptoms:
    failed = [(result.name, result.reason) for result in suite.results if result.verdict == "fail"]
    return Symptoms(frozenset(name for name, _ in failed), "", why_of(failed), str(suite.run))


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]
