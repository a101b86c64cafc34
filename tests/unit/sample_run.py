"""Synthetic run directories: five modes with plausible numbers and packets, and the ways in which a
run can go wrong.

Every number comes from a seeded generator and the clock is a counter, so that the same call writes
the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from lvslab.modes import mode_records
from lvslab.runs.codec import to_json
from lvslab.runs.records import Check, Result, Scenario
from lvslab.runs.writer import RunWriter
from tests.unit.sample_lab import MODES, VIP, counted, lab
from tests.unit.sample_packets import path_file

START = 1_760_000_000.0

STORY = Scenario(
    "compare-modes",
    "The five forwarding modes side by side",
    "what each mode rewrites, and what that costs the director",
)


def clock() -> Callable[[], float]:
    """A clock that ticks a quarter of a second a look."""
    now = START

    def tick() -> float:
        nonlocal now
        now += 0.25
        return now

    return tick


# --- measurements ---------------------------------------------------------------------------------

_LEVEL = {  # throughput, requests/s, connections/s, latency, director CPU a request
    "nat": (8.6e9, 31_200, 9_400, 0.00046, 2.9e-5),
    "dr": (9.7e9, 38_500, 11_900, 0.00038, 2.1e-5),
    "tun": (7.1e9, 29_800, 9_000, 0.00049, 2.6e-5),
    "fullnat": (7.9e9, 27_700, 7_600, 0.00055, 3.6e-5),
    "synproxy": (7.4e9, 26_900, 6_100, 0.00071, 4.4e-5),
}


def measure(
    writer: RunWriter,
    mode: str,
    *,
    repeats: int = 3,
    requests: int = 400,
    without: Sequence[str] = (),
    servers: int = 2,
) -> None:
    """Write the samples of a mode; a metric in `without` failed each time."""
    dice = random.Random(f"lvslab {mode}")
    throughput, rate, connections, latency, cpu = _LEVEL[mode]

    def record(
        metric: str, unit: str, repeat: int, value: float, labels: dict[str, str] | None = None
    ) -> None:
        failed = metric in without
        writer.sample(
            lab=mode,
            mode=mode,
            metric=metric,
            unit=unit,
            repeat=repeat,
            value=None if failed else value,
            labels=labels,
            error="wrk: unable to connect to 10.0.0.10:80 Connection refused" if failed else None,
        )

    for repeat in range(repeats):
        record("throughput", "bit/s", repeat, throughput * dice.gauss(1, 0.03))
        record(
            "retransmits",
            "segments",
            repeat,
            float(dice.randint(0, 5) if mode == "dr" else dice.randint(90, 420)),
        )
        record("requests_per_second", "1/s", repeat, rate * dice.gauss(1, 0.015))
        record("connections_per_second", "1/s", repeat, connections * dice.gauss(1, 0.06))
        record(
            "director_cpu",
            "s",
            repeat,
            cpu * dice.gauss(1, 0.02),
            {"during": "requests_per_second", "per": "request"},
        )
        record(
            "director_cpu",
            "s",
            repeat,
            3.1 * cpu * dice.gauss(1, 0.02),
            {"during": "connections_per_second", "per": "connection"},
        )
        record(
            "director_cpu",
            "s",
            repeat,
            6000 * cpu * dice.gauss(1, 0.02),
            {"during": "throughput", "per": "GB"},
        )
        if "latency" in without:
            record("latency", "s", repeat, 0)
            continue
        values = [
            latency * (1 + dice.expovariate(6)) * (dice.uniform(2, 6) if dice.random() < 0.015 else 1)
            for _ in range(requests)
        ]
        writer.sample(
            lab=mode,
            mode=mode,
            metric="latency",
            unit="s",
            repeat=repeat,
            values=[round(v, 9) for v in values],
        )
        for index in range(servers):
            record(
                "answers",
                "1",
                repeat,
                requests // servers + (index < requests % servers),
                {"server": f"rs{index + 1}"},
            )


# --- whole runs -----------------------------------------------------------------------------------


def writer(
    root: Path, name: str = "compare-modes", kind: str = "run", scenario: Scenario = STORY
) -> RunWriter:
    """A writer with the provenance of a plausible machine and a clock that ticks the same every
    time.
    """
    return RunWriter(
        root,
        name,
        kind=kind,
        command=["lvslab", "run", "compare-modes", "--repeat", "3"],
        clock=clock(),
        forwarding_modes=mode_records(),
        scenario=scenario,
        parameters={"modes": list(MODES), "clients": 1, "servers": 2, "repeat": 3, "kernel": "auto"},
        host={
            "kernel": "6.1.0-28-cloud-amd64",
            "machine": "x86_64",
            "cpus": 2,
            "cpu_model": "AMD EPYC 7B13",
            "memory_mib": 7953,
            "python": "3.11.2",
            "user": "ordinary user",
        },
        tools={
            "iperf3": "iperf 3.12",
            "wrk": "wrk 4.1.0",
            "ipvsadm": "ipvsadm v1.31 2019/12/24",
            "tcpdump": None,
        },
    )


def evidence(run: RunWriter, mode: str, wrong_at: int | None = None) -> None:
    """Write the captures and logs of a lab."""
    (run.captures / f"{mode}.path.json").write_text(json.dumps(to_json(path_file(mode, wrong_at))))
    (run.captures / f"{mode}.ladder.txt").write_text("the ladder as text\n")
    (run.captures / f"{mode}.pcapng").write_bytes(b"\x0a\x0d\x0d\x0a")
    (run.logs / mode).mkdir()
    (run.logs / mode / "commands.sh").write_text(f"ipvsadm -A -t {VIP}:80 -s rr\n")
    if wrong_at is not None:
        step = path_file(mode, wrong_at).flows[0].steps[wrong_at]
        (run.captures / f"{mode}.contract.txt").write_text(
            f"packet {wrong_at + 1} on {step.link}: {step.source} -> {step.target}, {step.info}\n"
            f"  sent      src {step.src}  dst {step.dst}\n"
            f"  demanded  src {VIP}:80  dst <client> & nothing else\n"
        )


def result(mode: str, wrong: str = "") -> Result:
    """The verdict on a lab."""
    checks = (
        Check("the client gets its answer", "pass", "10 of 10 requests"),
        Check("every packet keeps the contract", "fail" if wrong else "pass", wrong or "22 of 22 packets"),
        Check("the connections are spread evenly", "pass", "rs1 5, rs2 5"),
    )
    files = [f"captures/{mode}.pcapng", f"captures/{mode}.path.json"]
    if wrong:
        files.append(f"captures/{mode}.contract.txt")
    verdict = "fail" if wrong else "pass"
    return Result(mode, verdict, wrong or "all checks hold", tuple(files), checks)


NOT_COMPARABLE = (
    "TUN must not be compared with the other modes in requests per second: its real servers ran in guest"
    " kernels (they need ipip), the others' on the host's kernel."
)


def complete(root: Path, modes: Sequence[str] = MODES, repeats: int = 3) -> Path:
    """A run in which everything worked."""
    with writer(root) as run:
        for mode in modes:
            description = lab(mode)
            run.add_lab(description)
            run.add_event(mode, "ready", "director answers")
            evidence(run, mode)
            measure(run, mode, repeats=repeats)
            run.add_lab(counted(description, 1200 * repeats))
            run.add_result(result(mode))
        run.add_not_comparable(NOT_COMPARABLE)
    return run.path


def failed(root: Path) -> Path:
    """NAT broke its contract, DR passed, SYNPROXY was skipped."""
    with writer(root, "verify", "verify") as run:
        for mode, wrong_at in (("nat", 3), ("dr", None)):
            run.add_lab(counted(lab(mode), 10))
            evidence(run, mode, wrong_at)
            run.add_result(result(mode, path_file(mode, wrong_at).flows[0].reason if wrong_at else ""))
        run.add_result(Result("synproxy", "skip", "no kernel here has SYNPROXY: lvslab kernels build"))
    return run.path


def gaps(root: Path) -> Path:
    """Measurements failed: no throughput in DR, no latency in TUN, too few requests for a p99 in
    NAT; DR has no path file.
    """
    with writer(root, "gaps") as run:
        for mode, without, requests in (
            ("nat", (), 60),
            ("dr", ("throughput",), 400),
            ("tun", ("latency", "requests_per_second"), 400),
        ):
            run.add_lab(lab(mode))
            if mode != "dr":
                evidence(run, mode)
            measure(run, mode, without=without, requests=requests)
            run.add_result(result(mode))
    return run.path


def interrupted(root: Path) -> Path:
    """Ctrl-C in the middle of the second mode, the last sample cut off."""
    run = writer(root, "interrupted")
    try:
        with run:
            run.add_lab(lab("nat"))
            evidence(run, "nat")
            measure(run, "nat", repeats=2)
            run.add_result(result("nat"))
            run.add_lab(lab("dr"))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    file = run.path / "samples.jsonl"
    file.write_bytes(file.read_bytes()[:-25])
    return run.path


def empty(root: Path) -> Path:
    """A run that broke before it had a lab."""
    run = writer(root, "empty")
    try:
        with run:
            raise RuntimeError("no space for the guests")
    except RuntimeError:
        pass
    return run.path
