"""A rehearsal's answers for people: lines for a terminal, and a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lvslab.report.page import render
from lvslab.report.style import THEME
from lvslab.runs.rehearsal import Answers, Change, Notice, Proof
from lvslab.runs.words import plural

PAGE = "rehearsal.html"

MOST_ROWS = 40
"""More faults than that are not read one by one."""


def rows(answers: Answers) -> list[tuple[str, str, str, str]]:
    """One row a fault and door, in the order in which they were tried: fault, users of, what they
    noticed, what the file's timers allow. Where they are many, those that are as the file wants it
    share a row a kind of fault, with the worst of them, and so do those that are for the user to
    judge.
    """
    if len(answers.notices) <= MOST_ROWS:
        return [_row(notice) for notice in answers.notices]
    kinds: dict[str, list[Notice]] = {}
    for notice in answers.notices:
        kinds.setdefault(notice.kind, []).append(notice)
    shown = []
    for kind, notices in kinds.items():
        for verdict in ("pass", "unknown"):
            alike = [notice for notice in notices if notice.verdict == verdict]
            if alike:
                shown.append(_shared(kind, alike))
        shown += [_row(notice) for notice in notices if notice.verdict == "fail"]
    return shown


def proof_rows(answers: Answers) -> list[tuple[str, str, str]]:
    """One row a door: service, verdict, seen; where many, all that are served share one."""
    many = len(answers.proofs) > MOST_ROWS
    shown = [proof for proof in answers.proofs if not many or proof.verdict != "pass"]
    served = len(answers.proofs) - len(shown)
    return [(proof.door, proof.verdict.upper(), proof.reason) for proof in shown] + (
        [(plural(served, "service"), "PASS", "all their users served")] if served else []
    )


def _row(notice: Notice) -> tuple[str, str, str, str]:
    said = noticed(notice) + (f"; newcomers: {notice.newcomers}" if notice.newcomers else "")
    return notice.fault, notice.door, said, _allowed(notice.promised)


def _shared(kind: str, notices: Sequence[Notice]) -> tuple[str, str, str, str]:
    """The row of several: as many faults as there are, and the longest outage."""
    faults = len({notice.fault for notice in notices})
    worst = max(notices, key=lambda notice: notice.outage)
    promises = [notice.promised for notice in notices if notice.promised is not None]
    doors = {notice.door for notice in notices}
    return (
        f"{faults} × {kind}" if faults > 1 else notices[0].fault,
        plural(len(doors), "service"),
        f"at most {noticed(worst)}" if worst.failed else "nothing",
        _allowed(max(promises, default=None)),
    )


def _allowed(promised: float | None) -> str:
    return "–" if promised is None else f"{promised:.1f} s"


def noticed(notice: Notice) -> str:
    """What users noticed, short enough for a table's cell."""
    if not notice.failed:
        return "nothing"
    if notice.alone and not notice.ended:
        return f"{notice.failed}/{notice.attempts} failed: nobody else serves"
    share = f"{notice.failed}/{notice.attempts} failed"
    return f"{share}, {notice.outage:.1f} s" if notice.ended else f"{share}, until repaired"


def _proof_tables(answers: Answers) -> list[tuple[str, list[Proof]]]:
    """Doors for the page: what to open a table with, "" for one that is open, and its doors."""
    if len(answers.proofs) <= MOST_ROWS:
        return [("", list(answers.proofs))]
    served = [proof for proof in answers.proofs if proof.verdict == "pass"]
    others = [proof for proof in answers.proofs if proof.verdict != "pass"]
    return [("", others), (f"{len(served)} of {len(answers.proofs)} services serve all their users", served)]


def reload_rows(change: Change) -> list[tuple[str, str, str, str]]:
    """One row a reload and door: reload, users of, new users, lasting connections."""
    return [
        (
            each.name,
            each.door,
            f"{each.failed} of {each.attempts} failed" if each.failed else f"all {each.attempts} served",
            f"{each.broken} of {each.connections} broken" if each.connections else "–",
        )
        for each in change.reloads
    ]


def known_rows(change: Change) -> list[tuple[str, str, str, str]]:
    """One row a fault of keepalived's reload that is on record: issue, fault, verdict, seen."""
    said = {"pass": "not here", "fail": "here", "unknown": "not tried"}
    return [(f"#{each.number}", each.what, said[each.verdict], each.seen) for each in change.known]


def programs(answers: Answers) -> str:
    """The daemons that made the tables, each once."""
    return ", ".join(dict.fromkeys(answers.programs.values()))


def summary(answers: Answers) -> Iterator[str]:
    """The answers in a few sentences, the worst first."""
    if answers.differences:
        yield f"table: {plural(len(answers.differences), 'difference')} from the files"
    else:
        yield "table: what the files say"
    bad = [proof for proof in answers.proofs if proof.verdict == "fail"]
    if not answers.proofs:
        yield "served: not known, as no service has users here"
    elif bad:
        yield f"served: {plural(len(bad), 'service')} of {len(answers.proofs)} not"
    else:
        yield f"served: all of {plural(len(answers.proofs), 'service')}"
    failing = [notice for notice in answers.notices if notice.verdict == "fail"]
    if answers.notices:
        yield (
            f"faults: {len(failing)} of {len(answers.notices)} noticed for longer than the files promise"
            if failing
            else f"faults: {plural(len(answers.notices), 'case')}, all within what the files promise"
        )
    yield f"doctor: {plural(len(answers.findings), 'finding')}"


def write_page(run: Path, answers: Answers | Change) -> Path:
    """Write the page into a run directory."""
    change = answers if isinstance(answers, Change) else None
    shown = change.new if change else answers
    assert isinstance(shown, Answers)
    page = run / PAGE
    page.write_text(
        render(
            "rehearsal.html.j2",
            {
                "theme": THEME,
                "change": change,
                "failed": bool(change.worse) if change else shown.failed,
                "reloads": reload_rows(change) if change else [],
                "known": known_rows(change) if change else [],
                "programs": programs(shown),
                "answers": shown,
                "old": change.old if change else None,
                "summary": list(summary(shown)),
                "proof_tables": _proof_tables(shown),
                "shared": rows(shown) if len(shown.notices) > MOST_ROWS else [],
                "rows": _beside(shown, change.old if change else None),
            },
        ),
        encoding="utf-8",
    )
    return page


def _beside(answers: Answers, old: Answers | None) -> list[tuple[Notice, str, str, str]]:
    """Each notice with what was noticed, with what was before too, and what the timers allow."""
    before = {(notice.fault, notice.door): notice for notice in old.notices} if old else {}
    return [
        (
            notice,
            noticed(before[notice.fault, notice.door]) if (notice.fault, notice.door) in before else "–",
            noticed(notice),
            _allowed(notice.promised),
        )
        for notice in answers.notices
    ]
