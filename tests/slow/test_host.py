"""lvslab on a machine whose own kernel has ip_vs, as most users' have: everything on kernel `host`.

It runs in a virtual machine with Debian's stock kernel, whose processor is emulated where there is
no KVM: minutes, so it is part of `make slow`. docs/kernels.md has the table of what is tried here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import catalog
from lvslab.errors import LvslabError
from lvslab.host.completed import Completed
from lvslab.modes import MODES
from tests.slow.stock_machine import StockMachine

KERNEL = "debian/bookworm:amd64"
RUNS = "/tmp/runs"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StockMachine]:
    try:
        kernel = catalog.find(KERNEL)
    except LvslabError as reason:
        pytest.skip(f"{reason}; run: lvslab kernels fetch {KERNEL}")
    with StockMachine(kernel, tmp_path_factory.mktemp("stock") / "machine") as machine:
        # An ordinary user of that machine may not be let through to a checkout in somebody's home.
        places = (Path(sys.executable), Path(sys.executable).resolve(), Path(__file__))
        machine.run("chmod", "a+x", *sorted({str(folder) for place in places for folder in place.parents}))
        yield machine


def lvslab(
    machine: StockMachine, *words: str, user: str | None = None, seconds: float = 900.0, **environment: str
) -> Completed:
    return machine.run(sys.executable, "-m", "lvslab", *words, user=user, seconds=seconds, **environment)


def as_json(done: Completed) -> Any:
    assert done.out, done.err
    return json.loads(done.out)


def verdicts(done: Completed) -> dict[str, str]:
    return {each["name"]: each["verdict"] for each in as_json(done)["results"]}


def directors_kernels(machine: StockMachine, done: Completed) -> set[str]:
    """Of the labs of a run, as its record has them."""
    record = json.loads(machine.run("cat", f"{as_json(done)['run']}/run.json").out)
    nodes = [node for lab in record["labs"] for node in lab["nodes"]]
    return {node["kernel"]["name"] for node in nodes if node["role"] == "director"}


def test_check_finds_ip_vs_and_says_what_it_made_the_machine_load(machine: StockMachine) -> None:
    assert "ip_vs" not in machine.run("lsmod").out
    done = lvslab(machine, "check", "--json")
    lines = {each["name"]: each for each in as_json(done)["results"]}
    for need in ("ip_vs", "xt_ipvs", "SYNPROXY", "ipip", "netem"):
        assert need in lines["kernel 'host'"]["reason"]
    assert {lines[f"mode {mode}"]["verdict"] for mode in MODES} == {"pass"}
    (said,) = [line for line in done.err.splitlines() if "modprobe -r" in line]
    loaded = machine.run("lsmod").out
    for module in ("ip_vs", "xt_ipvs", "ipip"):
        assert module in said and module in loaded


def test_every_mode_is_proven_on_the_machines_kernel(machine: StockMachine) -> None:
    done = lvslab(machine, "verify", "--kernel", "host", "--json", "--runs", RUNS)
    assert verdicts(done) == dict.fromkeys(MODES, "pass"), done.err
    assert done.code == 0


def test_the_suite_runs_on_the_machines_kernel(machine: StockMachine) -> None:
    chosen = ("--only", "scheduler:rr*", "--only", "synproxy:*")
    done = lvslab(machine, "verify", *chosen, "--kernel", "host", "--json", "--runs", RUNS)
    found = verdicts(done)
    assert {name.split(":")[0] for name in found} == {"scheduler", "synproxy"}
    assert set(found.values()) == {"pass"}, done.err
    assert directors_kernels(machine, done) == {"host"}


def test_the_suite_takes_a_guest_unless_told_otherwise(machine: StockMachine) -> None:
    done = lvslab(machine, "verify", "--only", "scheduler:rr:*", "--json", "--runs", RUNS)
    assert verdicts(done) and set(verdicts(done).values()) == {"pass"}, done.err
    assert directors_kernels(machine, done) == {"uml"}


def test_a_comparison_on_the_machines_kernel_says_why_it_has_no_processor_time(machine: StockMachine) -> None:
    words = ("compare-modes", "--modes", "nat,dr", "--repeat", "1", "--kernel", "host")
    done = lvslab(machine, "run", *words, "--json", "--runs", RUNS)
    assert done.code == 0, done.err
    assert "Director time: none" in done.err + done.out
    assert directors_kernels(machine, done) == {"host"}


def test_a_contest_with_proxies_is_refused_on_the_machines_kernel(machine: StockMachine) -> None:
    done = lvslab(machine, "run", "l4-versus-l7", "--kernel", "host", "--runs", RUNS)
    assert done.code == 2 and "cannot run on kernel 'host'" in done.err, done.err


def test_a_scenario_runs_without_a_guest(machine: StockMachine) -> None:
    done = lvslab(
        machine, "run", "server-killed", "--control", "none", "--rate", "40", "--json", "--runs", RUNS
    )
    assert done.code == 0, done.err
    assert "guest kernel" not in done.err


def test_a_scenario_that_cuts_directors_off_is_refused_before_anything_starts(machine: StockMachine) -> None:
    runs = "/tmp/refused"
    done = lvslab(machine, "run", "director-power-cut", "--kernel", "host", "--runs", runs)
    assert done.code == 2 and "cannot run on kernel 'host'" in done.err, done.err
    assert "building the network" not in done.err
    assert machine.run("find", runs, "-mindepth", "1").out == ""


def test_the_doctor_reads_the_machine_without_loading_anything(machine: StockMachine) -> None:
    machine.run("modprobe", "ip_vs")
    before = machine.run("lsmod").out
    for user in (None, "nobody"):  # everybody may read /proc/net/ip_vs
        done = lvslab(machine, "doctor", "--here", user=user)
        assert done.code == 1 and "no-service (certain)" in done.out, done.err
    assert machine.run("lsmod").out == before


def test_an_ordinary_user_hears_why_the_machines_kernel_is_no_director(machine: StockMachine) -> None:
    done = lvslab(machine, "verify", "nat", "--kernel", "host", "--runs", "/tmp/nobody", user="nobody")
    assert done.code == 4, done.err
    assert "lacks ip_vs" in done.err or "lacks ip_vs" in done.out
    assert "xtables.lock" not in done.err + done.out


def test_an_ordinary_users_director_is_a_guest(machine: StockMachine) -> None:
    done = lvslab(
        machine, "verify", "nat", "--json", "--runs", "/tmp/nobody", user="nobody", HOME="/tmp/home"
    )
    assert verdicts(done) == {"nat": "pass"}, done.err
    assert "booting 1 guest kernel" in done.err


def test_nothing_of_the_labs_is_left_on_the_machine(machine: StockMachine) -> None:
    assert machine.run("ipvsadm", "-L", "-n").out.count("\n") == 3  # the heading alone
    links = machine.run("ip", "-o", "link").out.splitlines()
    assert {line.split()[1] for line in links} <= {"lo:", "tunl0@NONE:"}
    assert "lvslab" not in machine.run("ps", "ax").out
