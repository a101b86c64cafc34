"""The prober's pure parts, and the host's side of it."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import LabError, UsageError
from lvslab.lab.nodes import GuestNode, LabHost
from lvslab.runs.probes import read_probes
from lvslab.traffic.prober import Prober
from lvslab.traffic.probing.answers import outcome_of
from tests.unit.probing import PATIENCE, answer_as, silence, spec, tcp_server


def test_errors_have_outcomes() -> None:
    named = {
        each: outcome_of(each)
        for each in (errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EMFILE, errno.EADDRNOTAVAIL)
    }
    assert list(named.values()) == ["unreachable", "timeout", "local", "local"]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"address": "rs1"}, "not an IPv4 address"),
        ({"port": 0}, "port 0"),
        ({"servers": ()}, "servers"),
        ({"protocol": "sctp"}, "protocol 'sctp'"),
        ({"rate": 0.0}, "rate 0"),
        ({"rate": float("nan")}, "rate nan"),
        ({"rate": 1e6}, "rate 1000000"),
        ({"rate": None}, "nothing to do"),
        ({"timeout": 0.0}, "timeout"),
        ({"seconds": float("inf")}, "seconds"),
        ({"ports": (5, 4)}, "ports 5 to 4"),
        ({"flows": 3}, "flows"),
        ({"protocol": "udp", "flows": 3, "ports": (1024, 1025)}, "do not fit"),
        ({"protocol": "udp", "connections": 1}, "long-lived"),
        ({"connections": -1}, "negative"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        replace(spec(80), **wrong)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabHost:
    """A host that is this very process: its mnexec only starts what it is given."""
    program = tmp_path / "bin" / "mnexec"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nshift 2\ncase $2 in -c) exit 0 ;; esac\nexec "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    node: LabHost = LabHost.__new__(LabHost)
    node.name, node.pid, node.directory = "c1", os.getpid(), tmp_path
    return node


def test_the_hosts_side_starts_and_stops_it(host: LabHost, tmp_path: Path) -> None:
    with (
        tcp_server(answer_as("rs1")) as port,
        Prober(host, spec(port, seconds=600.0), tmp_path / "a", tmp_path / "b") as prober,
    ):
        prober.check_alive()
        summary = prober.stop()
        assert summary == prober.stop() and not prober.alive
        with pytest.raises(LabError, match="has ended"):
            prober.check_alive()
    read = read_probes(tmp_path / "a", tmp_path / "b")
    assert summary.attempts == len(read.attempts)
    assert summary.start == prober.start


def test_what_kills_the_prober_is_told(host: LabHost, tmp_path: Path) -> None:
    with (
        pytest.raises(LabError, match=r"prober in c1 did not start: .*No such file"),
        Prober(host, spec(9), tmp_path / "none" / "a", tmp_path / "b"),
    ):
        pass
    with tcp_server(answer_as("rs1")) as port, pytest.raises(LabError, match="ended with -9"):
        with Prober(host, spec(port, seconds=600.0), tmp_path / "a", tmp_path / "b") as prober:
            assert prober._program is not None
            os.kill(prober._program.pid, signal.SIGKILL)


def test_an_error_in_the_block_ends_it_and_keeps_the_records(host: LabHost, tmp_path: Path) -> None:
    with tcp_server(silence) as port, pytest.raises(ZeroDivisionError):
        with Prober(host, spec(port, seconds=600.0), tmp_path / "a", tmp_path / "b") as prober:
            deadline = time.monotonic() + PATIENCE
            while not read_probes(tmp_path / "a", None).attempts and time.monotonic() < deadline:
                time.sleep(0.01)
            raise ZeroDivisionError
    assert not prober.alive
    assert {each.outcome for each in read_probes(tmp_path / "a", None).attempts} == {"timeout"}


def test_a_guest_is_refused(tmp_path: Path) -> None:
    node: GuestNode = GuestNode.__new__(GuestNode)
    node.name = "c2"
    with pytest.raises(UsageError, match=r"prober in c2: .* machine's own kernel"):
        Prober(node, spec(80), tmp_path / "a", tmp_path / "b")
