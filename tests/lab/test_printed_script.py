"""The script that `lvslab doctor --print-script` prints, run on the machines of broken labs by the
shells that machines have: read back as text, it tells what the doctor sees there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from lvslab.doctor import gather
from lvslab.doctor.diagnose import diagnose
from lvslab.doctor.dump import Given, of_texts
from lvslab.doctor.script import printed
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.modes.base import Role
from lvslab.traffic import http
from lvslab.training import scripts
from lvslab.training.exercise import Exercise, load_all
from lvslab.training.network import plan_exercise
from tests.lab.conftest import in_sandbox

pytestmark = pytest.mark.usefixtures("quickest_guests")

LABS = {
    "wrong-gateway": "sh",
    "no-forwarding": "dash",
    "dr-arp-flux": "busybox sh",
    "tun-rp-filter": "sh",
    "dr-arp-false-cure": "dash",
    "sync-silent": "sh",
    "public-server": "sh",
}
"""Broken labs → the shell that runs the script there."""


def _both(exercise: Exercise, shell: str) -> tuple[list[str], list[str], list[str]]:
    """The faults by the doctor on the lab, and by the script's text; and what was not read."""
    plan = plan_exercise(exercise, probe.kernels_here(tuple(Need), "uml"))
    with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
        scripts.prepare(exercise, lab)
        http.get(lab.clients[0], f"http://{plan.addresses.vip}/", 3)
        names = [node.name for node in plan.nodes if node.role in (Role.DIRECTOR, Role.REAL_SERVER)]
        live = diagnose(gather.of_lab(lab, names))
        texts = [Given(name, _run(lab, name, shell), name) for name in names]
    evidence = of_texts(texts)
    return (
        sorted(each.fault for each in live),
        sorted(each.fault for each in diagnose(evidence)),
        [line for each in evidence.machines for line in each.unread],
    )


def _run(lab: Lab, name: str, shell: str) -> str:
    return lab.node(name).run(f"{shell} <<'SCRIPT'\n{printed()}SCRIPT\n", timeout=60).out


@pytest.mark.parametrize("name", LABS)
def test_the_script_tells_what_the_doctor_sees(name: str) -> None:
    exercise = next(each for each in load_all() if each.name == name)
    live, read, unread = in_sandbox(_both, exercise, LABS[name])
    assert live and live == read, unread
