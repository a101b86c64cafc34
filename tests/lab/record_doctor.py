"""A program of its own: records what the doctor reads in healthy labs, for
tests/unit/test_doctor.py.

python -m tests.lab.record_doctor        writes tests/unit/data/doctor/<lab>.json anew
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from lvslab.doctor import gather
from lvslab.host import sandbox
from lvslab.host.completed import Completed
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec

THERE = Path(__file__).resolve().parents[1] / "unit" / "data" / "doctor"

LABS: dict[str, tuple[str, dict[str, Any]]] = {
    "nat": ("nat", {}),
    "dr": ("dr", {}),
    "tun": ("tun", {}),
    "fullnat": ("fullnat", {}),
    "synproxy": ("synproxy", {}),
    "pair": ("nat", {"directors": 2}),
}
_REQUESTS = 4


class _Recorder:
    """A node whose answers are kept."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.outputs: list[str] = []

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        done: Completed = self._node.run(script, timeout=timeout)
        self.outputs.append(done.out)
        return done


def main() -> int:
    from lvslab.traffic import http

    for name, (mode, options) in LABS.items():
        plan = make_plan(LabSpec.of(mode, servers=2, **options), probe.kernels_here(tuple(Need)))
        with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
            http.get(lab.clients[0], f"http://{plan.addresses.vip}/", _REQUESTS)
            readings = [(node.name, node.role, _Recorder(lab.node(node.name))) for node in plan.nodes]
            gather.read(readings)
            machines = [
                {"name": node, "role": role, "outputs": recorder.outputs} for node, role, recorder in readings
            ]
            THERE.mkdir(exist_ok=True)
            (THERE / f"{name}.json").write_text(json.dumps(machines, indent=1) + "\n")
            sys.stderr.write(f"{name}: recorded\n")
    return 0


if __name__ == "__main__":
    sys.exit(sandbox.run(main))
