"""Run directories to compare, written by the real writer: verdicts, samples, trials and labs as a
test wants them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from lvslab.comparison.compare import Comparison, compare
from lvslab.comparison.findings import Finding
from lvslab.comparison.numbers import Limits
from lvslab.runs.costs import METRIC, UNIT
from lvslab.runs.records import (
    Check,
    Interface,
    Kernel,
    Lab,
    Mark,
    Network,
    Node,
    Result,
    Scenario,
    Trial,
    Verdict,
)
from lvslab.runs.writer import RunWriter

START = 1_760_000_000.0
HOST = {"kernel": "6.18.0", "machine": "x86_64", "cpus": 2, "cpu_model": "Some CPU", "user": "root"}
TOOLS = {"iperf3": "iperf 3.12", "wrk": "wrk 4.1.0", "ipvsadm": "ipvsadm v1.31"}


def node(name: str, role: str, kind: str, release: str, network: str = "s1") -> Node:
    """A node of a lab."""
    return Node(
        name,
        role,
        kernel=Kernel(kind=kind, release=release, config_sha256=release.ljust(64, "0")),
        interfaces=(Interface(f"{name}-eth0", "02:00:00:00:00:01", network),),
    )


def lab(
    name: str = "nat",
    kernel: str = "6.1.0",
    kind: str = "uml",
    server: str = "host",
    scheduler: str = "rr",
    others: str = "6.18.0",
) -> Lab:
    """A lab with a director on a kernel, a client and a real server.

    Args:
        kernel, kind: of the director.
        server: kind of the real server's kernel.
        others: release of the other kernels.
    """
    nodes = (
        node("c1", "client", "host", others),
        node("lvs", "director", kind, kernel),
        node("rs1", "real server", server, others),
    )
    return Lab(
        name=name,
        mode="nat",
        topology="nat",
        nodes=nodes,
        networks=(Network("s1", "10.0.0.0/24"),),
        service_rules=(f"-A -t 10.0.0.10:80 -s {scheduler}",),
    )


def result(
    name: str, verdict: Verdict = "pass", reason: str = "", checks: Mapping[str, Verdict] | None = None
) -> Result:
    """A result; `checks`: name → verdict of its single checks."""
    return Result(
        name,
        verdict,
        reason or f"{name}: {verdict}",
        (f"captures/{name}.pcapng",),
        tuple(Check(key, word, f"{key}: {word}") for key, word in (checks or {}).items()),
    )


def write_run(
    root: Path,
    *,
    name: str = "story",
    kind: str = "run",
    labs: Sequence[Lab] | None = None,
    results: Sequence[Result] = (),
    samples: Mapping[str, Sequence[float | None]] | None = None,
    parameters: Mapping[str, Any] | None = None,
    host: Mapping[str, Any] = HOST,
    tools: Mapping[str, str | None] = TOOLS,
    error: BaseException | None = None,
    trials: Sequence[tuple[str, float]] = (),
    started: float = START,
) -> Path:
    """Write a run; returns its directory.

    Args:
        samples: metric → one value a repetition, None for a measurement that failed.
        error: what ended it.
        trials: variant and length of the outage in seconds, of one repetition after the other.
    """
    ticks = count(started)
    scenario = Scenario(name, name) if kind == "run" else None
    writer = RunWriter(
        root,
        name,
        kind=kind,
        command=["lvslab", "run", name],
        scenario=scenario,
        parameters=parameters,
        host=host,
        tools=tools,
        clock=lambda: next(ticks),
    )
    try:
        with writer as run:
            for each in [lab()] if labs is None else labs:
                run.add_lab(each)
            run.add_results(results)
            for metric, values in (samples or {}).items():
                for repeat, value in enumerate(values, start=1):
                    problem = "3 of 9 requests failed" if value is None else None
                    run.sample(
                        lab="nat",
                        mode="nat",
                        metric=metric,
                        unit="1/s",
                        repeat=repeat,
                        value=value,
                        error=problem,
                    )
            for repeat, (variant, seconds) in enumerate(trials, start=1):
                write_trial(run, variant, repeat, seconds)
            if error is not None:
                raise error
    except type(error or KeyError()):
        pass
    return writer.path


def write_trial(run: RunWriter, variant: str, repeat: int, outage: float, interval: float = 0.01) -> None:
    """A trial of four seconds: the fault after one, failures for `outage` seconds, each answer
    within a millisecond.
    """
    name, fault = f"{variant}-{repeat}", START + 1.0
    marks = (
        Mark(fault, "fault", "rs1", "killed"),
        Mark(fault + outage, "table", "lvs", "TCP 10.0.0.10:80: 10.0.1.11:8080 removed"),
    )
    lines = ["planned,start,connect,first_byte,end,local_port,server,outcome"]
    for number in range(round(4 / interval)):
        t = START + number * interval
        failed = fault <= t < fault + outage - 1e-6
        answered = "" if failed else f"{t + 0.001:.6f}"
        lines.append(
            f"{t:.6f},{t:.6f},{answered},{answered},{t + 0.001:.6f},1024,rs2,{'refused' if failed else 'ok'}"
        )
    (run.probes / f"{name}.attempts.csv").write_text("\n".join(lines) + "\n")
    run.add_trial(
        Trial(
            name=name,
            variant=variant,
            mode="nat",
            lab="nat",
            repeat=repeat,
            start=START,
            end=START + 4,
            interval=interval,
            timeout=1.0,
            marks=marks,
            verdict="pass",
        )
    )


def write_bench(
    root: Path, costs: Mapping[str, Sequence[float]], kernel: str = "6.1.0", qemu: str = "QEMU 7.2"
) -> Path:
    """Write a bench run of one kernel: figure → instructions per packet by seed."""
    director = node("director", "director", "qemu", kernel)
    entry = Lab(name=kernel, mode="bench", topology="bench", nodes=(director,))
    writer = RunWriter(
        root,
        f"bench-{kernel}",
        kind="bench",
        command=["lvslab", "bench"],
        host=HOST,
        tools={"qemu": qemu},
        parameters={"kernels": [kernel], "seeds": 3, "sysctls": {}},
    )
    with writer as run:
        run.add_lab(entry)
        for figure, values in costs.items():
            for seed, value in enumerate(values, start=1):
                labels = {"kernel": kernel, "measurement": figure, "seed": str(seed), "over": "routing"}
                run.sample(
                    lab=kernel, mode="nat", metric=METRIC, unit=UNIT, repeat=seed, value=value, labels=labels
                )
    return writer.path


def compared(tmp_path: Path, base: Mapping[str, Any], new: Mapping[str, Any], **limits: float) -> Comparison:
    """Two runs compared, written from the arguments of `write_run`."""
    return compare(write_run(tmp_path / "base", **base), write_run(tmp_path / "new", **new), Limits(**limits))


def only(found: Comparison, name: str) -> Finding:
    (finding,) = [each for each in found.findings if each.name == name]
    return finding


RATES = {
    "requests_per_second": 9000.0,
    "connections_per_second": 3100.0,
    "throughput": 8.9e9,
    "director_cpu": 0.00011,
    "retransmits": 240.0,
}


def noisy(seed: int, repeat: int, factor: float = 1.0, slow: str = "") -> dict[str, list[float | None]]:
    """Samples as a shared machine gives them: 4 % of noise, a hiccup of 20 % now and then; `slow`
    is divided by `factor`.
    """
    noise = np.random.default_rng(seed)
    samples: dict[str, list[float | None]] = {}
    for metric, middle in RATES.items():
        values = middle * noise.normal(1.0, 0.04, repeat) * np.where(noise.random(repeat) < 0.1, 0.8, 1.0)
        samples[metric] = [float(value / (factor if metric == slow else 1.0)) for value in values]
    return samples
