"""What the confinement of guests costs, for `make perf`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from tests.unconfined import unconfined

STARTS = 20


def start_seconds() -> tuple[float, float]:
    """Of a NAT lab, medians, with its guest confined and as a bare process, in turns."""
    plan = make_plan(LabSpec.of("nat"), probe.kernels_here([Need.IP_VS]))

    def start() -> float:
        with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
            return lab.start_seconds or 0.0

    confined, bare = [], []
    for _ in range(STARTS):
        confined.append(start())
        with unconfined():
            bare.append(start())
    return median(confined), median(bare)
