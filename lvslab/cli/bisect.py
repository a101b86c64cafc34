"""`lvslab bisect`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lvslab.cli.common import JSON, RUNS, in_sandbox
from lvslab.exitcodes import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lvslab.bisect.history import Range
    from lvslab.bisect.search import Found
    from lvslab.conformance.check import Check


@click.command(short_help="Find the commit of a kernel tree that broke IPVS.")
@click.argument("tree", type=click.Path(path_type=Path))
@click.option("--good", required=True, metavar="REVISION", help="A commit whose checks hold.")
@click.option("--bad", required=True, metavar="REVISION", help="A later one in which some fail.")
@click.option(
    "--check",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Judge by these checks, such as 'scheduler:wrr:*', instead of the whole suite; repeatable.",
)
@click.option(
    "--config",
    "fragment",
    type=click.Path(path_type=Path),
    metavar="FRAGMENT",
    help="Options on top of lvslab's, as in .config.",
)
@RUNS
@JSON
def bisect(
    tree: Path,
    good: str,
    bad: str,
    patterns: tuple[str, ...],
    fragment: Path | None,
    runs: Path,
    as_json: bool,
) -> int:
    """Find the commit of a kernel TREE, a git checkout, that broke IPVS: commits between GOOD and
    BAD are built, booted as directors, and judged by the conformance suite.

    First BAD is shown to fail; the checks that fail there judge all others. A commit that does not
    build, or fails in another way only, is skipped. The checkout is not touched. The same command
    goes on where an interrupted one has ended. Exit code 0 when one commit is named, 1 when several
    are left because those between could not be judged, 4 when the ends show no fault to look for.
    """
    from lvslab.bisect.examine import Examiner
    from lvslab.bisect.history import range_of
    from lvslab.bisect.search import search
    from lvslab.catalog import build
    from lvslab.cli.terminal import Progress, print_json, print_lines
    from lvslab.conformance.check import all_checks, select
    from lvslab.host.distribution import require_programs

    checks = select(all_checks(), patterns)
    searched = range_of(tree, good, bad)
    build.prepare(tree, fragment)
    require_programs()
    name = f"bisect-{_digest(searched, checks, fragment)}"
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)

    def work() -> int:
        with Progress() as progress:
            examine = Examiner(checks, fragment, name, folder, progress)
            found = search(searched, folder, examine, progress)
        if as_json:
            print_json(_as_json(found, folder))
        else:
            print_lines(_lines(found, folder))
        return ExitCode.OK if len(found.candidates) == 1 else ExitCode.FAILED

    return in_sandbox(work)


def _digest(searched: Range, checks: Sequence[Check], fragment: Path | None) -> str:
    """Names a search: the same words, the same folder, so that it goes on there."""
    words = [str(searched.tree), searched.good.hash, searched.bad.hash, *(check.name for check in checks)]
    text = "\n".join([*words, fragment.read_text() if fragment else ""])
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _lines(found: Found, folder: Path) -> list[str]:
    if len(found.candidates) == 1:
        head = [f"first bad commit: {found.candidates[0]}"]
    else:
        head = ["the first bad commit is one of:", *(f"    {each}" for each in found.candidates)]
    return [
        *head,
        f"what fails since then: {', '.join(sorted(found.wanted))}",
        f"commits judged: {len(found.steps)}; runs and steps.json: {folder}",
    ]


def _as_json(found: Found, folder: Path) -> dict[str, object]:
    from dataclasses import asdict

    from lvslab.bisect.steps import to_json

    return {
        "candidates": [asdict(commit) for commit in found.candidates],
        "failing": sorted(found.wanted),
        "steps": [to_json(step) for step in found.steps],
        "folder": str(folder),
    }
