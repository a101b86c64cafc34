"""tests/unit/data/run-1 is a run directory of format version 1 with every kind of record in it,
written when the format was first fixed. It is never written anew: whoever kept such a directory
must be able to read it with every later lvslab.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvslab.runs.codec import from_json, to_json
from lvslab.runs.observation import observed
from lvslab.runs.records import PathFile, RunFile, Sample
from lvslab.runs.rundir import Run, load
from lvslab.runs.writer import sample_json

GOLDEN = Path(__file__).parent / "data" / "run-1"
REPORTS = Path(__file__).resolve().parents[2] / "reports"


@pytest.fixture(scope="module")
def run() -> Run:
    return load(GOLDEN)


def test_the_run_itself(run: Run) -> None:
    assert (run.name, run.kind, run.lvslab) == ("golden", "run", "0.1.0")
    assert run.command == ("lvslab", "run", "compare-modes", "--repeat", "3")
    assert (run.status, run.error, run.warnings) == ("complete", None, ())
    assert (run.started, run.finished) == ("2025-10-09T08:53:20+00:00", "2025-10-09T08:53:22+00:00")
    assert run.host["cpus"] == 2 and run.tools["tcpdump"] is None and run.tools["wrk"] == "wrk 4.1.0"
    assert run.parameters["modes"] == ["nat", "dr", "tun", "fullnat", "synproxy"]
    assert run.modes == ("nat", "tun", "masq") and len(run.not_comparable) == 1


def test_its_labs(run: Run) -> None:
    nat, tun = run.labs
    assert (nat.name, nat.mode, nat.topology) == ("nat", "nat", "nat")
    assert (tun.name, tun.mode, tun.topology) == ("tun-2", "tun", "tun")
    assert (nat.start_seconds, nat.stop_seconds, tun.start_seconds) == (1.42, 0.31, None)
    assert [network.subnet for network in nat.networks] == ["10.0.0.0/24", "10.0.1.0/24"]
    assert nat.service_rules[0] == "-A -t 10.0.0.10:80 -s rr" and len(nat.service_rules) == 3
    (service,) = nat.counters
    assert (service.service, service.conns) == ("TCP 10.0.0.10:80", 7)
    assert [(server.name, server.in_packets) for server in service.servers] == [
        ("rs1", 24),
        ("rs2", 18),
    ]
    director = nat.nodes[1]
    assert (director.name, director.role, director.needs) == ("lvs", "director", ("ip_vs",))
    assert director.kernel is not None and director.kernel.config_sha256 == "5f0c" * 16
    assert (director.kernel.kind, director.kernel.name) == ("uml", "uml")
    assert director.kernel.release == "6.1.174-1-um" and director.kernel.why.startswith("the host's kernel")
    assert director.interfaces[1].name == "lvs-eth1" and director.interfaces[1].network == "s2"
    assert director.interfaces[1].addresses == ("10.0.1.1/24",)
    assert director.extra_addresses == ("10.0.0.10/32 on lvs-eth0",) and director.gateway is None
    assert tun.nodes[0].gateway == "10.0.0.254"


def test_its_events_and_results(run: Run) -> None:
    (event,) = run.events
    assert (event.t, event.lab, event.event) == (1_760_000_000.125, "nat", "boot")
    assert event.detail == "lvs: user-mode-linux"
    verdicts = {result.name: result.verdict for result in run.results}
    assert verdicts == {
        "nat": "fail",
        "tun-2": "pass",
        "synproxy": "skip",
        "weights:zero": "pass",
        "mtu:too-big": "fail",
    }
    nat = run.results[0]
    assert nat.reason == "packet 4: the source address is not the VIP"
    assert nat.evidence[-1] == "captures/nat.contract.txt"
    assert [check.verdict for check in nat.checks] == ["pass", "fail", "pass"]
    assert nat.checks[2].reason == "rs1 5, rs2 5"


def test_its_trials(run: Run) -> None:
    whole, cut = run.trials
    assert (whole.name, whole.variant, whole.mode, whole.lab, whole.repeat) == (
        "mon-nat-1",
        "mon",
        "nat",
        "nat",
        1,
    )
    assert (whole.start, whole.end) == (1_760_000_010.5, 1_760_000_020.0)
    assert (whole.interval, whole.timeout, whole.heartbeat) == (0.1, 0.5, 0.5)
    assert [mark.kind for mark in whole.marks] == [
        "note",
        "fault",
        "vrrp",
        "control",
        "table",
        "repair",
        "table",
    ]
    assert whole.marks[1].node == "rs1" and whole.marks[1].text == "rs1: the web server is killed"
    assert whole.bound is not None and whole.bound.seconds == 1.6
    assert whole.bound.formula == "interval + timeout + alert" and whole.verdict == "pass"
    assert (cut.end, cut.interval, cut.bound, cut.verdict, cut.marks) == (None, None, None, None, ())


def test_its_probes(run: Run) -> None:
    seen = observed(run.probes, run.trials[0])
    assert seen.attempts is not None and len(seen.attempts) == 95 and seen.failed == 7
    assert seen.beats is not None and len(seen.beats) == 6
    assert seen.stretch is not None and seen.stretch.failed == 7 and not seen.problems
    assert seen.survival is not None and (seen.survival.total, seen.survival.survived) == (2, 0)


def test_its_samples(run: Run) -> None:
    throughput = run.of("throughput", "nat")
    assert [sample.value for sample in throughput] == [8.61e9, None]
    assert throughput[1].error == "iperf3: no route to host" and throughput[1].unit == "bit/s"
    first, second = run.of("latency")
    assert (first.value, first.values, first.error) == (None, (0.00046, 0.00051, 0.00258), None)
    assert (second.values, second.error) == ((0.00047,), "1 of 2 requests failed")
    (cpu,) = run.of("director_cpu")
    assert cpu.labels == {"during": "throughput", "per": "GB"} and cpu.t == 1_760_000_001.5
    (bench,) = run.of("instructions_per_packet")
    assert (bench.lab, bench.repeat, bench.labels["over"]) == ("6.12", 1, "nothing")


def test_its_flows(run: Run) -> None:
    nat, tun = run.paths["nat"], run.paths["tun-2"]
    assert nat.columns == ("c1", "lvs", "rs1", "rs2") and tun.columns[2] == "gw"
    (flow,) = nat.flows
    assert (flow.name, flow.title, flow.verdict) == ("http", "TCP 10.0.0.101:40312 > 10.0.0.10:80", "fail")
    assert [step.verdict for step in flow.steps] == ["ok", "ok", "ok", "wrong", "unjudged"]
    first, second = flow.steps[:2]
    assert (first.source, first.target, first.link) == ("c1", "lvs", "lvs-eth0")
    assert (first.t, second.t, first.ttl, second.rewritten) == (0.0, 3.4e-05, 64, ("dst",))
    assert (first.eth_src, first.eth_dst) == ("02:00:00:00:01:00", "02:00:00:00:00:10")
    assert (first.src, first.dst) == ("10.0.0.101:40312", "10.0.0.10:80")
    assert (first.protocol, first.info, first.outer) == ("TCP", "SYN seq=2840172613", None)
    assert not flow.steps[-1].target, "nobody took it"
    outer = tun.flows[0].steps[1].outer
    assert outer is not None and (outer.src, outer.dst, outer.protocol) == ("10.0.0.1", "10.0.2.11", 4)


def _documents(folder: Path) -> Iterator[tuple[Any, Any]]:
    """Every JSON object of a run directory as it stands there, and as its record is written."""
    data = json.loads((folder / "run.json").read_text())
    yield data, to_json(from_json(RunFile, data, "run.json"))
    for file in sorted(folder.glob("captures/*.path.json")):
        data = json.loads(file.read_text())
        yield data, to_json(from_json(PathFile, data, file.name))
    for line in (folder / "samples.jsonl").read_text().splitlines():
        data = json.loads(line)
        yield data, sample_json(from_json(Sample, data, "samples.jsonl"))


def _within(old: Any, new: Any) -> bool:
    """Whether everything of an older document is in a newer one, which may have further keys."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(
            key in new and _within(value, new[key]) for key, value in old.items()
        )
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(_within, old, new))
    return bool(old == new)


def test_what_is_read_is_written_as_it_was() -> None:
    for old, new in _documents(GOLDEN):
        assert new == old


@pytest.mark.parametrize("folder", [REPORTS / "sample", REPORTS / "failover"], ids=lambda at: at.name)
def test_nothing_of_an_older_directory_is_lost_or_renamed(folder: Path) -> None:
    documents = list(_documents(folder))
    assert documents and all(_within(old, new) for old, new in documents)
