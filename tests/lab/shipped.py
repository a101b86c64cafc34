"""Shipped scenarios as the lab tests run them, each once a session."""

from __future__ import annotations

import fcntl
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.conftest import LVSLAB, QUICK, QUICKEST, Outcome, quick_lvslab, run_lvslab

SHORTER: dict[str, list[str]] = {
    "director-handover": ["--sync", "yes", "--connections", "25"],
    "director-hung": ["--sync", "yes", "--connections", "25"],
    "director-link-loss": ["--sync", "no", "--connections", "10"],
    "director-panic": ["--sync", "yes", "--connections", "25"],
    "director-power-cut": ["--connections", "25"],
    "dns-round-robin": ["--clients", "2", "--requests", "6"],
    "flapping-server": ["--flaps", "1"],
    "lossy-link": ["--loss", "0,0.2"],
    "old-master-returns": ["--preempt", "yes", "--connections", "25"],
    "partition": ["--variant", "master cut off|master cut off + garp_master_refresh"],
    "rolling-upgrade": ["--sync", "yes", "--connections", "25"],
    "server-hung": ["--control", "keepalived"],
    "server-killed": ["--control", "none,keepalived"],
    "server-power-off": ["--control", "none,keepalived"],
    "slow-link": ["--delay", "0.05"],
    "sloppy-tcp": ["--connections", "10"],
    "syn-flood": ["--variant", "nat|nat + drop_entry|synproxy"],
    "udp-dead-server": ["--variant", "defaults|expire_nodest_conn"],
}
"""Parameters that leave out repetitions of the same and keep what is taught."""

ON_THE_INSTALLED = {"director-power-cut", "drain", "partition", "rolling-upgrade", "server-killed"}
"""On the kernel that users get by default; the others on guests that cost less."""
WITH_IPTABLES = {"compare-modes", "syn-flood"}


@dataclass(frozen=True)
class Shipped:
    """A finished run of a shipped scenario in real time.

    Attributes:
        folder: the run directory.
    """

    done: Outcome
    folder: Path


def run_shipped(name: str, factory: pytest.TempPathFactory) -> Shipped:
    """Run a shipped scenario in real time with the parameters of `SHORTER`; whichever test of the
    session asks first, in whichever worker, does it.
    """
    workers = "PYTEST_XDIST_WORKER" in os.environ
    place = (factory.getbasetemp().parent if workers else factory.getbasetemp()) / "shipped" / name
    place.mkdir(parents=True, exist_ok=True)
    kept = place / "outcome"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            words = ("run", name, *SHORTER.get(name, []), "--no-report", "--json")
            quick = quick_lvslab(QUICK if name in WITH_IPTABLES else QUICKEST)
            command = LVSLAB if name in ON_THE_INSTALLED else quick
            done = run_lvslab(*words, "--runs", str(place / "runs"), timeout=600, command=command)
            kept.write_bytes(pickle.dumps(done))
        runs = list((place / "runs").iterdir()) if (place / "runs").is_dir() else []
        return Shipped(pickle.loads(kept.read_bytes()), runs[0] if runs else place)
