"""What became of the set of faults, as a page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.slow.faults.fault import Fault
from tests.slow.faults.trial import Seen

_ABOUT = """\
# Faults built into IPVS, and the checks that see them

Made by `make faults` (`tests/slow/faults/`); do not edit. A fault counts as seen when the check
fails with it and passes again without it, see
[conformance](conformance.md#whether-a-check-can-fail).
"""


def page(faults: Sequence[Fault], known: Mapping[str, Seen]) -> str:
    """The page as Markdown.

    Args:
        known: what was found, by the fault's name; one that is not there was not tried.
    """
    can = [fault for fault in faults if not fault.equivalent]
    count = sum(fault.name in known and _counts(known[fault.name]) for fault in can)
    lines = [
        _ABOUT,
        f"**{count} of {len(can)} faults are seen**; {len(faults) - len(can)} more change nothing that could"
        " be seen.\n",
        "| fault | file | what is wrong | seen by |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {fault.name} | {fault.file} | {_cell(fault.story)} | {_cell(_result(fault, known))} |"
        for fault in faults
    ]
    return "\n".join(lines) + "\n"


def _counts(seen: Seen) -> bool:
    return bool(seen.check) and not seen.alarm


def _result(fault: Fault, known: Mapping[str, Seen]) -> str:
    if fault.equivalent:
        return f"nothing: {fault.equivalent}"
    if fault.name not in known:
        return "not tried"
    seen = known[fault.name]
    return f"`{seen.check}`" if _counts(seen) else "**no check**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
