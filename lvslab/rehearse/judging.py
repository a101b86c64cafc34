"""What users' records say of a rehearsal: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lvslab.rehearse.deaths import Victim
from lvslab.rehearse.director import Door, Manager
from lvslab.rehearse.formula import Death
from lvslab.rehearse.stage import Stage
from lvslab.runs.outage import Attempt, outage
from lvslab.runs.rehearsal import Notice, Proof
from lvslab.runs.words import plural

_NAMED = 4
"""So many servers that die together are named one by one."""


def named(victim: Victim, death: Death) -> str:
    """The machine where the whole machine dies, else the program."""
    return victim.address if death is Death.SILENT else victim.names[0]


def of_group(group: Sequence[Victim], death: Death) -> str:
    """Those that die at the same time."""
    names = [named(victim, death) for victim in group]
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{len(names)} servers without a common service, {names[0]} to {names[-1]},"


def lateness(attempts: Iterable[Attempt]) -> float:
    """Seconds by which the latest tenth of the users came late, by this machine's own doing."""
    late = sorted(attempt.start - attempt.planned for attempt in attempts)
    return late[len(late) * 9 // 10] if late else 0.0


def warm(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    """Attempts from the first that was served on: before it neighbours are still being found."""
    first = next((number for number, attempt in enumerate(attempts) if not attempt.failed), 0)
    return attempts[first:] if first < len(attempts) / 2 else attempts


def proof_of(door: Door, attempts: Sequence[Attempt]) -> Proof:
    failed = [attempt for attempt in attempts if attempt.failed]
    servers: dict[str, int] = {}
    for attempt in attempts:
        if attempt.server:
            servers[attempt.server] = servers.get(attempt.server, 0) + 1
    if not attempts:
        return Proof(door.name, "unknown", 0, 0, {}, "nobody asked")
    if failed:
        outcomes = ", ".join(sorted({attempt.outcome for attempt in failed}))
        reason = f"{len(failed)} of {plural(len(attempts), 'user')} not served ({outcomes})"
        return Proof(door.name, "fail", len(attempts), len(failed), servers, reason)
    reason = f"all {plural(len(attempts), 'user')} served, by {', '.join(sorted(servers))}"
    return Proof(door.name, "pass", len(attempts), 0, servers, reason)


def notice_of(
    fault: str,
    door: Door,
    attempts: Sequence[Attempt],
    began: float,
    ended: float,
    interval: float,
    left_table: float | None,
    promised: float | None,
    alone: bool = False,
    kind: str = "",
    newcomers: str = "",
) -> Notice:
    meanwhile = [attempt for attempt in attempts if attempt.planned < ended]
    stretch = outage(meanwhile, interval, began)
    after = [attempt for attempt in meanwhile if attempt.planned >= began]
    return Notice(
        fault,
        door.name,
        outage=stretch.end - began if stretch else 0.0,
        ended=stretch.ended if stretch else True,
        attempts=len(after),
        failed=sum(attempt.failed for attempt in after),
        interval=interval,
        left_table=left_table,
        promised=promised,
        alone=alone,
        kind=kind,
        newcomers=newcomers,
    )


def sizes_of(stage: Stage) -> dict[str, float]:
    """How large it is: services, servers, checks a second of each director."""
    checks = [
        check
        for director in stage.directors
        for _, configured in director.servers
        for check in configured.checks
    ]
    count = len(stage.directors)
    return {
        "services": float(sum(1 for _ in stage.directors[0].services)),
        "real servers": float(len(stage.seats)),
        "checks a second": sum(1 / check.interval for check in checks if check.interval) / count,
        "directors managed by nobody": float(
            sum(director.manager is Manager.RULES for director in stage.directors)
        ),
    }
