"""A comparison in words: tables for the terminal, a summary for a patch mail, results for JSON,
JUnit and TAP.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from lvslab.comparison.compare import Comparison
from lvslab.comparison.findings import Change, Finding, Status
from lvslab.report.text import Table
from lvslab.report.units import MISSING, percent, scale
from lvslab.runs.codec import to_json
from lvslab.runs.records import Result
from lvslab.runs.words import plural

_MAIL_COLUMNS = 75
_MAIL_NAMES = 20
"""So many findings of a kind a mail names; the rest is counted."""

_EVIDENCE = 5
"""So many regressions are shown with a file."""

_CONFIRMED = 8
"""So many checks are named in the command that tries them again."""

_ORDER = (
    Status.NEWLY_FAILING,
    Status.FAILING_MORE,
    Status.WORSE,
    Status.CHANGED,
    Status.FIXED,
    Status.BETTER,
    Status.STILL_FAILING,
    Status.ADDED,
)
"""What is shown finding by finding, the worst first; of the others the number and the reasons."""
_GROUPED = (Status.NEWLY_SKIPPED, Status.MISSING, Status.NOT_COMPARABLE, Status.SKIPPED)
_NUMBERS = (Status.WORSE, Status.BETTER, Status.CHANGED, Status.UNCHANGED, Status.TOO_FEW)


def headline(comparison: Comparison) -> str:
    """The comparison in one line."""
    regressions = len(comparison.regressions)
    if regressions:
        verdict = f"REGRESSION: {plural(regressions, 'finding')}"
    elif comparison.code:
        verdict = "NOTHING COMPARABLE"
    else:
        verdict = "no regression"
    counts = [f"{comparison.counts[status]} {status}" for status in Status if comparison.counts[status]]
    return f"{verdict} ({', '.join(counts)})" if counts else verdict


def sides(comparison: Comparison) -> list[str]:
    """What was compared: base, new, and what they differ in."""
    lines = [
        f"base: {comparison.base}  [{', '.join(comparison.base_kernels) or 'kernel not known'}]",
        f"new:  {comparison.new}  [{', '.join(comparison.new_kernels) or 'kernel not known'}]",
    ]
    if comparison.under_test:
        return [*lines, *(f"under test: {each}" for each in comparison.under_test)]
    return [*lines, "under test: nothing differs (same kernel, same settings)"]


def finding_table(comparison: Comparison) -> Table:
    """What changed, finding by finding, regressions first."""
    rows = tuple(
        (str(finding.status), finding.title, _change_text(finding.change) or MISSING, finding.reason)
        for status in _ORDER
        for finding in comparison.of(status)
    )
    return Table(("what", "name", "change", "reason"), rows)


def group_table(comparison: Comparison) -> Table:
    """What could not be compared, by reason: how many, which for example, and why."""
    rows = []
    for status in _GROUPED:
        reasons: dict[str, list[Finding]] = {}
        for finding in comparison.of(status):
            reasons.setdefault(finding.reason, []).append(finding)
        for reason, findings in sorted(reasons.items(), key=lambda item: -len(item[1])):
            rows.append((str(status), str(len(findings)), _examples(findings), reason))
    return Table(("what", "number", "for example", "reason"), tuple(rows))


def number_table(comparison: Comparison) -> Table:
    """Every number: both medians with their repetitions, the change, how separate the two are, and
    what is said of it.
    """
    rows = []
    for finding in comparison.findings:
        change = finding.change
        if change is None or finding.status not in _NUMBERS:
            continue
        written = scale(change.unit, max(abs(change.base), abs(change.new)))
        said = f"{finding.status}: {change.needed} needed" if change.needed else str(finding.status)
        rows.append(
            (
                finding.title,
                f"{written.text(change.base)} (n {change.base_n})",
                f"{written.text(change.new)} (n {change.new_n})",
                _relative(change),
                f"{change.dominance:.2f}",
                MISSING if change.adjusted is None else f"{change.adjusted:.2g}",
                said,
            )
        )
    return Table(("number", "base, median", "new, median", "change", "A", "p (Holm)", "found"), tuple(rows))


def evidence(comparison: Comparison) -> list[str]:
    """Where to look at the regressions: files of the first ones, and how many others have some."""
    found = [(each.title, each.evidence[0]) for each in comparison.regressions if each.evidence]
    lines = [f"evidence: {title}: {file}" for title, file in found[:_EVIDENCE]]
    more = len(found) - _EVIDENCE
    return [*lines, f"evidence of {plural(more, 'more finding')}: --json"] if more > 0 else lines


def advice(comparison: Comparison) -> list[str]:
    """What to do where the comparison could not say enough."""
    lines = []
    needed = comparison.repetitions_needed
    if needed is not None:
        count = comparison.counts[Status.TOO_FEW]
        lines.append(
            f"{count} of {_number_count(comparison)} numbers have too few repetitions to tell a change from"
            f" chance; {needed} on each side are needed: run both again with --repeat {needed}"
        )
    if comparison.seeds_needed is not None:
        lines.append(
            f"one seed shows no spread: run both benches again with --seeds {comparison.seeds_needed} at"
            " least"
        )
    lines += _confirm(comparison)
    lost = comparison.counts[Status.NEWLY_SKIPPED] + comparison.counts[Status.MISSING]
    if lost and not comparison.strict:
        lines.append(
            f"{lost} {'is' if lost == 1 else 'are'} no longer checked; --strict makes that a regression"
        )
    return lines


def _confirm(comparison: Comparison) -> list[str]:
    """How to see whether checks of the suite that failed once fail again: a check that waits for
    timers may fail by a busy machine.
    """
    failed = [
        each.name
        for each in comparison.of(Status.NEWLY_FAILING)
        if each.tries == 1 and ":" in each.name and " " not in each.name
    ]
    if not failed or comparison.command[1:2] != ("verify",):
        return []
    only = " ".join(f"--only {shlex.quote(name)}" for name in failed[:_CONFIRMED])
    more = len(failed) - _CONFIRMED
    rest = f" (these are {_CONFIRMED} of {len(failed)}; all: --json)" if more > 0 else ""
    return [
        f"failed in one try: to confirm, try several on both kernels: lvslab verify {only} --kernel BASE"
        f" --kernel NEW --repeat 5{rest}"
    ]


def results(comparison: Comparison) -> list[Result]:
    """Each finding as a result with a verdict."""
    found = []
    for each in comparison.findings:
        text = f"{each.status}: {each.reason}" if each.reason else str(each.status)
        reason = f"{text} ({_change_text(each.change)})" if each.change else text
        found.append(Result(each.title, each.verdict(comparison.strict), reason, tuple(each.evidence)))
    return found


def _finding_json(finding: Finding, result: Result) -> dict[str, Any]:
    entry = {**to_json(result), "status": str(finding.status)}
    if finding.change:
        entry["change"] = {key: getattr(finding.change, key) for key in Change.__slots__}
    return entry


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The whole comparison as one object."""
    return {
        "base": str(comparison.base),
        "new": str(comparison.new),
        "base_kernels": list(comparison.base_kernels),
        "new_kernels": list(comparison.new_kernels),
        "regression": bool(comparison.regressions),
        "counts": {str(status): number for status, number in comparison.counts.items()},
        "level": comparison.limits.level,
        "floor": comparison.limits.floor,
        "bench_floor": comparison.limits.bench_floor,
        "under_test": [
            {"what": each.what, "base": each.base, "new": each.new} for each in comparison.under_test
        ],
        "not_comparable": list(comparison.not_comparable),
        "notes": list(comparison.notes),
        "repetitions_needed": comparison.repetitions_needed,
        "results": [
            _finding_json(*pair) for pair in zip(comparison.findings, results(comparison), strict=True)
        ],
    }


# -- a patch mail ----------------------------------------------------------------------------------


def markdown(comparison: Comparison, every_number: bool = False) -> str:
    """A summary of at most 75 columns, fit for a patch mail: what was compared, what changed with
    its numbers, how to repeat it.

    Args:
        every_number: list the medians of all numbers, too, also of those with too few repetitions.
    """
    lines = [*_wrapped(f"## lvslab: {headline(comparison)}"), ""]
    base, new = (
        ", ".join(kernels) or "kernel not known"
        for kernels in (comparison.base_kernels, comparison.new_kernels)
    )
    lines += [f"- base: {base}", f"- new: {new}"]
    lines += [line for each in comparison.under_test for line in _wrapped(f"- under test: {each}", "  ")]
    limits = comparison.limits
    rule = (
        f"- rule: Mann-Whitney, exact; Holm over all numbers, level {limits.level:g}; medians differ by"
        f" {100 * limits.floor:g} % at least ({100 * limits.bench_floor:g} % in virtual time)"
    )
    lines += _wrapped(rule, "  ")
    titles = {
        "Regressions": (Status.NEWLY_FAILING, Status.FAILING_MORE, Status.WORSE),
        "Fixed or better": (Status.FIXED, Status.BETTER),
        "Changed": (Status.CHANGED,),
        "Failing, not comparable": (Status.ADDED,),
    }
    for title, statuses in titles.items():
        found = [
            each
            for each in comparison.of(*statuses)
            if title != "Failing, not comparable" or "fails" in each.reason
        ]
        if found:
            lines += ["", f"### {title}", "", *_items(found)]
    groups = group_table(comparison).rows
    if groups or comparison.not_comparable or advice(comparison):
        lines += ["", "### Not compared", ""]
        lines += [line for each in comparison.not_comparable for line in _wrapped(f"- {each}", "  ")]
        lines += [
            line
            for what, number, _, reason in groups
            for line in _wrapped(f"- {number} {what}: {reason}", "  ")
        ]
        lines += [line for each in advice(comparison) for line in _wrapped(f"- {each}", "  ")]
    if every_number:
        lines += ["", "### Every number", "", *_every_number(comparison)]
    lines += ["", "### To repeat", "", *_commands(comparison)]
    return "\n".join(lines) + "\n"


def _every_number(comparison: Comparison) -> list[str]:
    table = number_table(comparison)
    lines = []
    for what, *values in table.rows:
        told = ", ".join(
            f"{header} {value}" for header, value in zip(table.headers[1:], values, strict=True) if value
        )
        lines += _wrapped(f"- {what}: {told}", "  ")
    return lines


def _items(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for each in findings[:_MAIL_NAMES]:
        change = _change_text(each.change)
        lines += _wrapped(
            f"- {each.title}: {each.status}{f', {change}' if change else ''}; {each.reason}", "  "
        )
    if len(findings) > _MAIL_NAMES:
        lines.append(f"- and {len(findings) - _MAIL_NAMES} more")
    return lines


def _commands(comparison: Comparison) -> list[str]:
    """The commands, indented as code, folded with backslashes where they are long."""
    compare = ("lvslab", "compare", str(comparison.base), str(comparison.new))
    lines = []
    for command in dict.fromkeys(filter(None, (comparison.base_command, comparison.command, compare))):
        folded = textwrap.wrap(
            shlex.join(command),
            _MAIL_COLUMNS - 6,
            break_long_words=False,
            break_on_hyphens=False,
            subsequent_indent="    ",
        )
        lines += [f"    {line} \\" for line in folded[:-1]] + [f"    {folded[-1]}"]
    return lines


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, _MAIL_COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


# -- words -----------------------------------------------------------------------------------------


def _change_text(change: Change | None) -> str:
    """A change in few words: "9.41 -> 8.72 Gbit/s (-7.3 %)"."""
    if change is None:
        return ""
    written = scale(change.unit, max(abs(change.base), abs(change.new)))
    return f"{written.number(change.base)} -> {written.text(change.new)} ({_relative(change)})"


def _relative(change: Change) -> str:
    """The relative change with its sign; small ones of virtual time with two digits."""
    if change.relative is None:
        return "from 0"
    digits = 2 if abs(change.relative) < 0.01 else 1
    return ("+" if change.relative > 0 else "") + percent(change.relative, digits)


def _number_count(comparison: Comparison) -> int:
    return sum(each.change is not None for each in comparison.findings)


def _examples(findings: Iterable[Finding]) -> str:
    names = [finding.title for finding in findings]
    return ", ".join(names[:2]) + (", …" if len(names) > 2 else "")
