"""A stock kernel under QEMU is a director like any other: its packets, its commands, its death and
its return.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from lvslab import faults
from lvslab.catalog import catalog
from lvslab.errors import CannotError, GuestError
from lvslab.kernels import initramfs, probe, qemu
from lvslab.kernels.kinds import HOST
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.traffic import http
from lvslab.verify.verification import verify
from tests.lab.conftest import in_sandbox, run_lvslab

ORDINARY_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


def _a_kernel() -> str | None:
    """The name of a kernel here that can be a guest under QEMU."""
    for name in (
        "qemu",
        *(entry.full_name for entry in catalog.entries() if entry.kind == "qemu"),
    ):
        try:
            qemu.refuse(catalog.find(name))
        except CannotError:
            continue
        return str(name)
    return None


NAME = _a_kernel()
pytestmark = pytest.mark.skipif(
    NAME is None, reason="no kernel for QEMU is here; run: lvslab kernels fetch debian/bookworm:amd64"
)


def _with_lab(work: Any) -> Any:
    def inside() -> Any:
        kernels = catalog.including(probe.kernels_here([Need.IP_VS], HOST), [str(NAME)])
        plan = make_plan(LabSpec.of("nat", kernels=[NAME]), kernels)
        with tempfile.TemporaryDirectory() as home:
            logs, run = Path(home) / "logs", Path(home) / "run"
            for each in (logs, run / "captures"):
                each.mkdir(parents=True)
            with Lab(plan, logs) as lab:
                return work(lab, run)

    return in_sandbox(inside)


def test_a_director_proves_its_packets_dies_comes_back_and_takes_a_new_link() -> None:
    def work(lab: Lab, run: Path) -> dict[str, Any]:
        seen: dict[str, Any] = {"release": lab.director.release}
        url = f"http://{lab.plan.addresses.vip}/"
        seen["whole"] = verify(lab, run).checks
        seen["out"] = lab.director.pexec("echo out; echo err >&2; exit 5")
        seen["live"] = lab.director.popen("echo live; exec cat /proc/net/ip_vs >&2; exit 3").communicate()
        with faults.director_power_cut(lab, "lvs"):
            seen["off"] = http.get(lab.clients[0], url, timeout=1.0)[0].error
        seen["on"] = http.get(lab.clients[0], url)[0].error
        switch = lab.net.addSwitch("s9")
        switch.start([])
        name = lab.net.addLink(switch, lab.director).intf2.name
        seen["link"] = name, lab.director.run(f"cat /sys/class/net/{name}/carrier").out.strip()
        lab.director.run("echo 0 >/proc/sys/net/ipv4/ip_forward")
        seen["broken"] = verify(lab, run).checks
        try:
            lab.director.run("echo c >/proc/sysrq-trigger")
        except GuestError as error:
            seen["panic"] = str(error)
        return seen

    seen = _with_lab(work)
    assert seen["release"] == catalog.find(str(NAME)).modules.release
    assert [(each.name, each.reason) for each in seen["whole"] if each.verdict != "pass"] == []
    assert seen["out"] == ("out\n", "err\n", 5)
    assert seen["live"][0] == b"live\n" and b"IP Virtual Server" in seen["live"][1]
    assert seen["off"] and not seen["on"]
    assert seen["link"] == ("lvs-eth2", "1")
    assert {each.name for each in seen["broken"] if each.verdict == "fail"} >= {"tcp", "http"}
    assert "lvs: guest kernel died; it said: " in seen["panic"] and "panic" in seen["panic"]


def test_an_ordinary_user_verifies_a_mode_and_the_run_says_which_kernel_it_was(tmp_path: Path) -> None:
    done = run_lvslab(
        "verify", "fullnat", "--kernel", str(NAME), "--json", "--runs", str(tmp_path), prefix=ORDINARY_USER
    )
    assert done.code == 0, done.err
    (run,) = tmp_path.iterdir()
    (director,) = (
        node
        for node in json.loads((run / "run.json").read_text())["labs"][0]["nodes"]
        if node["role"] == "director"
    )
    assert director["kernel"]["kind"] == "qemu"
    assert director["kernel"]["release"] == catalog.find(str(NAME)).modules.release


def test_a_kernel_without_9p_is_refused_before_it_boots(tmp_path: Path) -> None:
    kernel = catalog.find(str(NAME))
    tree = tmp_path / "modules" / kernel.modules.release
    tree.mkdir(parents=True)
    for table in ("modules.dep", "modules.builtin"):
        lines = (kernel.modules.directory / table).read_text().splitlines()
        (tree / table).write_text("".join(f"{line}\n" for line in lines if "/9p" not in line))
    poor = qemu.QemuKernel(kernel.image, initramfs.ModuleTree(tree))  # type: ignore[attr-defined]

    def work() -> None:
        poor.boot("poor", [], tmp_path / "guest", tmp_path / "console")

    with pytest.raises(CannotError, match=r"has no 9pnet_virtio, 9p, by which .*:amd64 kernels have them"):
        in_sandbox(work)
