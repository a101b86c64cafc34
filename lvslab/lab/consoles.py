"""What the kernels of a lab complained of, as findings of a run: from their consoles, when it is
over.
"""

from __future__ import annotations

from pathlib import Path

from lvslab.kernels import console
from lvslab.kernels.console import Report
from lvslab.runs.records import Result


def complaints(logs: Path, run: Path) -> list[Result]:
    """One failed result for each thing that kernels complained of, with its fingerprint, how often
    and where; none is the rule.

    Args:
        logs: folder of the lab's, or of several labs.
        run: the run directory, from which evidence is named.
    """
    found: dict[str, list[tuple[str, Report]]] = {}
    for log in sorted(logs.rglob("*.console")):
        for report in console.complaints(log):
            found.setdefault(report.fingerprint, []).append((str(log.relative_to(run)), report))
    return [_result(same) for same in found.values()]


def _result(same: list[tuple[str, Report]]) -> Result:
    files = tuple(dict.fromkeys(file for file, _ in same))
    report = same[0][1]
    nodes = ", ".join(dict.fromkeys(Path(file).stem for file in files))
    times = f", {len(same)} times" if len(same) > 1 else ""
    return Result(
        f"kernel:{report.what}:{report.fingerprint}",
        "fail",
        f"the kernel of {nodes} complained{times}: {report}",
        files,
        detail=tuple(report.text.splitlines()),
    )
