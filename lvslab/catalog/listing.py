"""What `lvslab kernels` lists: the machine's own kernels and those of the catalog, each with what
it has and lacks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lvslab.catalog import catalog
from lvslab.errors import LvslabError
from lvslab.events import Event, Listener
from lvslab.ipvs.service import Scheduler
from lvslab.kernels import probe
from lvslab.kernels.kinds import KINDS
from lvslab.kernels.needs import KernelFacts
from lvslab.kernels.virtual_time import VirtualTimeKernel


@dataclass(frozen=True)
class Row:
    """One kernel.

    Attributes:
        name: for --kernel.
        origin: where it comes from, and since when it is here, in words; "" for the machine's own.
        size: bytes in the catalog; 0 for the machine's own.
        facts: of its trial.
        schedulers: of IPVS, those that worked in the trial; none where that is not known.
    """

    name: str
    origin: str
    size: int
    facts: KernelFacts
    schedulers: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return self.facts.kind

    @property
    def release(self) -> str:
        return self.facts.release

    @property
    def has(self) -> str:
        """What it has, in words."""
        return ", ".join(sorted(self.facts.met))

    @property
    def lacks(self) -> Mapping[str, str]:
        """What it lacks, each with the reason."""
        missing = [each for each in Scheduler if self.schedulers and each not in self.schedulers]
        refused = {f"scheduler {each}": f"ipvsadm -A … -s {each} was refused" for each in missing}
        return {**{str(need): why for need, why in self.facts.unmet.items()}, **refused}

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "kind": self.kind,
            "release": self.release,
            "origin": self.origin,
            "bytes": self.size,
            "has": sorted(self.facts.met),
            "schedulers": list(self.schedulers),
            "lacks": dict(self.lacks),
        }


def kernels_listed(tell: Listener) -> tuple[list[Row], dict[str, str]]:
    """Every kernel that is here, and the reason for each kind that is not. Call it inside the
    sandbox.

    The machine's own kernel is tried each time; of the others results are kept, so only new ones
    boot.
    """
    here = probe.kernels_here()
    facts, absent = dict(here.facts), dict(here.absent)
    for name, kind in KINDS.items():
        if name in facts or name in absent:
            continue
        try:
            kernel = kind.installed()
            tell(Event("", "boot", f"{name}: {kernel.modules.release}, trial boot unless its result is kept"))
            facts[name] = probe.guest_facts(kernel)
        except LvslabError as error:
            absent[name] = str(error)
    rows = [Row(name, "", 0, each) for name, each in facts.items()]
    entries = catalog.entries()
    if any(entry.kind == VirtualTimeKernel.kind for entry in entries):
        absent.pop(VirtualTimeKernel.kind, None)  # this name means the one that was built last
    return [
        *rows,
        *(Row(each.full_name, _origin(each), each.size(), each.facts, each.schedulers) for each in entries),
    ], absent


def _origin(entry: catalog.CatalogEntry) -> str:
    """Tells two builds of one release apart: by tree, its state, and time."""
    return f"{entry.origin}, {time.strftime('%Y-%m-%d %H:%M', time.localtime(entry.fetched))}"
