"""The machine's own kernel: how it is tried, what it must not be asked for, what stays behind."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lvslab import events
from lvslab.catalog import catalog, listing
from lvslab.catalog.catalog import CatalogEntry
from lvslab.errors import CannotError, CommandError
from lvslab.host import modules
from lvslab.kernels import probe
from lvslab.kernels.kinds import HOST, KINDS
from lvslab.kernels.needs import NEEDS, KernelFacts, Need
from lvslab.kernels.virtual_time import VirtualTimeKernel
from lvslab.modes.base import plain_lines
from tests.unit.builders import plan

MODULES = """\
xt_ipvs 16384 0 - Live 0x0000000000000000
ip_vs 204800 2 xt_ipvs, Live 0x0000000000000000
nf_conntrack 188416 1 ip_vs, Live 0x0000000000000000
"""


def test_a_trial_on_the_machines_kernel_begins_with_its_loopback_up(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert Path(options["env"]["XTABLES_LOCKFILE"]).is_file()
        scripts.append(command[-1].splitlines())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert probe.host_facts([Need.IP_VS]).met == {Need.IP_VS}
    assert [lines[0] for lines in scripts] == ["ip link set lo up"]
    assert set(NEEDS[Need.IP_VS].trial) <= set(scripts[0])


def test_a_trial_names_the_parameter_that_a_namespace_does_not_have(tmp_path: Path) -> None:
    *_, parameter = NEEDS[Need.IP_VS].trial
    file = shlex.split(parameter)[2]
    assert file.startswith("/proc/sys/net/ipv4/vs/")
    for here, answer in ((True, (0, "")), (False, (1, f"no {tmp_path}/there\n"))):
        (tmp_path / "there").touch() if here else (tmp_path / "there").unlink()
        script = parameter.replace(file, f"{tmp_path}/there")
        done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == answer


@pytest.mark.parametrize("mode", ["fullnat", "synproxy"])
def test_a_director_on_the_machines_kernel_leaves_the_machines_own_parameters_alone(mode: str) -> None:
    of_machine = {"nf_conntrack_buckets", "nf_conntrack_max"}

    def asked_for(kernel: str) -> set[str]:
        lines = plain_lines(plan(mode, kernels=[kernel]).director.mode_steps)
        return {name for name in of_machine for line in lines if name in line}

    assert asked_for("uml") == of_machine
    assert asked_for(HOST) == set()
    assert "sysctl -w net.ipv4.vs.conntrack=1" in plain_lines(plan(mode, kernels=[HOST]).director.mode_steps)


def test_a_machine_that_needs_no_guest_is_told_what_guests_it_could_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    everything = KernelFacts(HOST, "6.1.0", None, frozenset(Need), {}, "iptables")

    def nowhere() -> Any:
        raise CannotError("not installed")

    monkeypatch.setattr(probe, "host_facts", lambda needs: everything)
    monkeypatch.setattr(catalog, "entries", list)
    for kind in KINDS.values():
        monkeypatch.setattr(kind, "installed", nowhere)
    rows, absent = listing.kernels_listed(events.nobody)
    assert [row.name for row in rows] == [HOST]
    assert absent == dict.fromkeys(KINDS, "not installed")

    built = KernelFacts(VirtualTimeKernel.kind, "6.1.0", None, frozenset(), {}, None)
    entry = CatalogEntry("local/vt", "", tmp_path, (), built, 1.0, 1.0, None)
    monkeypatch.setattr(catalog, "entries", lambda: [entry])
    rows, absent = listing.kernels_listed(events.nobody)
    assert [row.name for row in rows] == [HOST, "local/vt"]
    assert absent.keys() == KINDS.keys() - {VirtualTimeKernel.kind}


def test_a_failed_set_up_shows_the_shells_reason_beside_the_steps_name() -> None:
    said = "cannot create /proc/sys/net/x: Permission denied\nset-up step 'conntrack' failed\n"
    error = CommandError("lvs", "set-up", 1, f"before\n{said}")
    assert "Permission denied; set-up step 'conntrack' failed" in str(error)


def test_modules_that_have_come_are_told_in_an_order_in_which_they_can_go(tmp_path: Path) -> None:
    file = tmp_path / "modules"
    assert modules.listing(file) == ()
    file.write_text(MODULES)
    here = modules.listing(file)
    assert here == ("xt_ipvs", "ip_vs", "nf_conntrack")
    assert modules.notice(here, here) is None
    said = modules.notice(("nf_conntrack",), here)
    assert said and said.endswith("modprobe -r xt_ipvs ip_vs") and "tunl0" not in said
    said = modules.notice((), ("ipip", "tunnel4"))
    assert said and "ipip tunnel4 (and made tunl0)" in said
    said = modules.notice((), ("ip_vs", "iptable_nat", "veth", "bridge"))
    assert said and "with iptable_nat, veth, bridge go their links or rules" in said
