"""Synthetic run directories of failover experiments: what the prober would have written while
something was broken and repaired.

Every number comes from a seeded generator, so that the same call writes the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lvslab.runs.records import Bound, Mark, Result, Scenario, Trial
from lvslab.runs.writer import RunWriter
from tests.unit import sample_lab, sample_run

HEADER = "planned,start,connect,first_byte,end,local_port,server,outcome"
BEATS = "connection,opened,local_port,planned,sent,answered,server,outcome"
FAULT = 2.0
"""Seconds from the start of a trial to its fault."""


@dataclass(frozen=True)
class Case:
    """One variant: `outage` seconds in which `share` of the attempts fail as `outcome`; None: until
    the repair.
    """

    variant: str
    outage: float | None
    outcome: str = "timeout"
    share: float = 0.5
    bound: float | None = None
    formula: str = ""
    noticed: bool = True
    lost: float = 0.0
    """Part of the long-lived connections that dies."""


CRASH = (
    Case("none", None, "refused", noticed=False),
    Case("mon", 1.31, "refused", bound=1.6, formula="interval + timeout + alert"),
    Case("ldirectord", 2.42, "refused", bound=4.0, formula="checkinterval + checktimeout"),
    Case("keepalived", 0.62, "refused", bound=1.0, formula="delay_loop + retries x delay"),
)
"""A real server's program dies under four kinds of health control."""

FAILOVER = (
    Case("with sync", 0.82, "timeout", 1.0, bound=0.9, formula="3 x advert + skew"),
    Case("without sync", 0.84, "timeout", 1.0, bound=0.9, formula="3 x advert + skew", lost=0.9),
)
"""A director dies, with and without connection sync."""


def attempts(
    start: float,
    case: Case,
    *,
    repair: float,
    end: float,
    interval: float,
    dice: random.Random,
    timeout: float = 0.5,
) -> list[str]:
    """The lines of one trial's attempts, in the order in which they ended."""
    length = repair - FAULT if case.outage is None else case.outage * dice.uniform(0.93, 1.05)
    lines: list[tuple[float, str]] = []
    for number in range(round(end / interval)):
        planned = number * interval
        began = planned + dice.expovariate(1 / 0.00012)
        broken = FAULT <= planned < FAULT + length and (
            case.share >= 1 or number % round(1 / case.share) == 0
        )
        outcome = case.outcome if broken else "ok"
        if broken and dice.random() < 0.08:
            outcome = "reset"
        took = {"ok": dice.uniform(0.0006, 0.0015), "timeout": timeout}.get(outcome, 0.0005)
        times = [f"{start + t:.6f}" for t in (planned, began)]
        good = outcome == "ok"
        times += [f"{start + began + took / 3:.6f}", f"{start + began + took / 2:.6f}"] if good else ["", ""]
        server = ("rs1", "rs2")[number % 2] if good else ""
        lines.append(
            (
                began + took,
                ",".join([*times, f"{start + began + took:.6f}", str(20000 + number), server, outcome]),
            )
        )
    return [line for _, line in sorted(lines)]


def beats(
    start: float, case: Case, *, connections: int, end: float, heartbeat: float, dice: random.Random
) -> list[str]:
    """The lines of one trial's long-lived connections, opened one after the other before
    the fault.
    """
    lines: list[tuple[float, str]] = []
    for number in range(1, connections + 1):
        opened = 0.02 + (FAULT - 0.1) * number / connections
        # A connection younger than the last sync message is not known to the other director.
        dies = dice.random() < case.lost or (case.lost > 0 and FAULT - opened < 0.3)
        beat = opened + heartbeat
        while beat < end:
            dead = dies and beat >= FAULT
            stamps = [
                f"{start + opened:.6f}",
                str(30000 + number),
                f"{start + beat:.6f}",
                f"{start + beat + 0.0001:.6f}",
            ]
            answered = "" if dead else f"{start + beat + 0.0009:.6f}"
            outcome = ("timeout" if number % 4 else "reset") if dead else "ok"
            lines.append((beat, f"{number},{','.join(stamps)},{answered},{'' if dead else 'rs1'},{outcome}"))
            if dead:
                break
            beat += heartbeat
    return [line for _, line in sorted(lines)]


def trial(
    case: Case,
    mode: str,
    repeat: int,
    start: float,
    *,
    repair: float,
    end: float,
    interval: float | None = 0.01,
    heartbeat: float | None = None,
    name: str = "",
) -> Trial:
    """A trial as run.json keeps it."""
    slug = case.variant.replace(" ", "-")
    marks = [Mark(start + FAULT, "fault", "rs1", "rs1: the web server is killed")]
    subnet = {"dr": "10.0.0", "tun": "10.0.2"}.get(mode, "10.0.1")
    service, server = "TCP 10.0.0.10:80", f"{subnet}.11:80"
    if case.noticed and case.outage is not None:
        seen = start + FAULT + case.outage * 0.97
        marks.append(Mark(seen - 0.01, "control", "lvs", f"{slug}: rs1 is down"))
        marks.append(Mark(seen, "table", "lvs", f"{service}: {server} removed"))
        marks.append(Mark(start + repair + 1.1, "table", "lvs", f"{service}: {server} added"))
    marks.append(Mark(start + repair, "repair", "rs1", "the web server is started again"))
    holds = case.outage is not None and (case.bound is None or case.outage < case.bound)
    return Trial(
        name=name or f"{slug}-{mode}-{repeat}",
        variant=case.variant,
        mode=mode,
        lab=f"{mode}-{slug}",
        repeat=repeat,
        start=start,
        end=start + end,
        interval=interval,
        timeout=0.5,
        heartbeat=heartbeat,
        marks=tuple(marks),
        bound=None if case.bound is None else Bound(case.bound, case.formula),
        expects=f"under {case.variant} clients are served again before the repair",
        verdict="pass" if holds else "fail",
    )


def writer(root: Path, name: str = "server-crash", title: str = "A real server dies") -> RunWriter:
    """A writer with a plausible machine and scenario."""
    teaches = "how long clients feel it, under each kind of health control"
    return sample_run.writer(root, name, scenario=Scenario(name, title, teaches))


def add(
    run: RunWriter,
    case: Case,
    mode: str = "nat",
    *,
    repeats: int = 5,
    repair: float = 7.0,
    end: float = 9.5,
    interval: float = 0.01,
    heartbeat: float | None = None,
    connections: int = 40,
    change: Callable[[Trial], Trial] = lambda trial: trial,
) -> None:
    """Write one variant: its lab, trials and probes; `change` may alter each trial."""
    dice = random.Random(f"{case.variant} {mode}")
    name = f"{mode}-{case.variant.replace(' ', '-')}"
    run.add_lab(replace(sample_lab.lab(mode), name=name, start_seconds=1.4, stop_seconds=0.3))
    for repeat in range(1, repeats + 1):
        start = sample_run.START + 100.0 * repeat + dice.random()
        record = change(
            trial(case, mode, repeat, start, repair=repair, end=end, interval=interval, heartbeat=heartbeat)
        )
        lines = attempts(start, case, repair=repair, end=end, interval=interval, dice=dice)
        file(run, record.name, "attempts").write_text("\n".join([HEADER, *lines, ""]))
        if heartbeat:
            lines = beats(start, case, connections=connections, end=end, heartbeat=heartbeat, dice=dice)
            file(run, record.name, "beats").write_text("\n".join([BEATS, *lines, ""]))
        run.add_trial(record)
        run.add_result(
            Result(
                f"{case.variant} {mode} {repeat}",
                record.verdict or "skip",
                record.expects,
                (f"probes/{record.name}.attempts.csv",),
            )
        )


def file(run: RunWriter, name: str, kind: str) -> Path:
    """The file of a trial's attempts or beats."""
    return run.probes / f"{name}.{kind}.csv"


def crash(
    root: Path,
    *,
    repeats: int = 5,
    modes: Sequence[str] = ("nat",),
    cases: Sequence[Case] = CRASH,
    scale: float = 1.0,
    name: str = "server-crash",
) -> Path:
    """A server's program dies and is started again; `scale` stretches the outages and the time to
    the repair.
    """
    with writer(root, name) as run:
        for mode in modes:
            for case in cases:
                outage = None if case.outage is None else case.outage * scale
                bound = None if case.bound is None else case.bound * scale
                scaled = Case(
                    case.variant,
                    outage,
                    case.outcome,
                    case.share,
                    bound,
                    case.formula,
                    case.noticed,
                    case.lost,
                )
                add(
                    run,
                    scaled,
                    mode,
                    repeats=repeats,
                    repair=FAULT + 5 * max(scale, 0.1),
                    end=FAULT + 7.5 * max(scale, 0.35),
                )
    return run.path


def failover(root: Path, *, repeats: int = 3, mode: str = "nat") -> Path:
    """A director dies; forty connections with a heartbeat stand in each trial."""
    with writer(root, "director-crash", "A director dies") as run:
        for case in FAILOVER:
            add(run, case, mode, repeats=repeats, heartbeat=0.1)
    return run.path


def gaps(root: Path) -> Path:
    """All that can be missing: a file, its last line, a fault, an end, a failure; and an outage
    that never ends.
    """
    mon = CRASH[1]
    with writer(root, "gaps") as run:
        add(run, Case("no-file", 1.0), repeats=1)
        file(run, "no-file-nat-1", "attempts").unlink()
        add(run, Case("cut", 1.0), repeats=1)
        cut = file(run, "cut-nat-1", "attempts")
        cut.write_bytes(cut.read_bytes()[:-30])
        add(run, Case("no-fault", 1.0), repeats=1, change=lambda t: replace(t, marks=t.marks[1:]))
        add(run, Case("no-end", 1.0), repeats=1, change=lambda t: replace(t, end=None, verdict=None))
        add(run, Case("whole", 0.0, bound=1.0, noticed=False), repeats=2)
        add(run, Case("never", None, "unreachable", 1.0, bound=1.0), repeats=2, repair=99.0)
        add(run, mon, repeats=2)
    return run.path
