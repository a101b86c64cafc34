"""Carries out the set of faults: `python -m tests.slow.faults [--whole] [NAME…]`.

Names are patterns, all without. Prints a table; ends with 1 when fewer than 95 % of the faults that
can be seen are seen, or when a check fails without a fault too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lvslab.errors import LvslabError
from lvslab.events import Event
from lvslab.host import sandbox
from tests.slow.faults import core, protocols, schedulers
from tests.slow.faults.fault import Fault
from tests.slow.faults.page import page
from tests.slow.faults.trial import read, try_all
from tests.slow.faults.workshop import kernel_with

FAULTS: tuple[Fault, ...] = (*core.FAULTS, *protocols.FAULTS, *schedulers.FAULTS)
_ENOUGH = 0.95


def main(arguments: Sequence[str]) -> int:
    """Build, try, print."""
    parser = argparse.ArgumentParser(prog="tests.slow.faults", description=__doc__)
    parser.add_argument("names", nargs="*", default=["*"], help="patterns of names")
    parser.add_argument(
        "--whole", action="store_true", help="try the whole suite where the named checks see nothing"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("build/faults"), help="folder for source, kernel, results"
    )
    parser.add_argument(
        "--built", action="store_true", help="the kernel in the folder is good, build nothing"
    )
    parser.add_argument("--page", type=Path, help="write what is known of all faults as Markdown")
    asked = parser.parse_args(arguments)
    root: Path = asked.root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    chosen = [
        (number, fault)
        for number, fault in enumerate(FAULTS, start=1)
        if any(fnmatchcase(fault.name, pattern) for pattern in asked.names)
    ]
    try:
        # Nobody takes a kernel with faults for a good one: it is in a catalog of its own.
        os.environ["XDG_CACHE_HOME"] = str(root / "catalog")
        if not asked.built:
            kernel_with(FAULTS, root, _tell)
        code = sandbox.run(lambda: _work(chosen, root, asked.whole))
        if asked.page:
            asked.page.write_text(page(FAULTS, read(root)))
        return code
    except LvslabError as error:
        print(f"faults: {error}", file=sys.stderr)
        return int(error.exit_code)


def _tell(event: Event) -> None:
    print(event.text, file=sys.stderr)


def _work(chosen: Sequence[tuple[int, Fault]], root: Path, whole: bool) -> int:
    results = try_all(chosen, "local/faults", root, whole)
    by_name = {fault.name: fault for _, fault in chosen}
    can = [each for each in results if not by_name[each.fault].equivalent]
    seen = [each for each in can if each.check and not each.alarm]
    for each in results:
        word = by_name[each.fault].equivalent or each.alarm or each.check or "NOT SEEN"
        print(f"{each.fault:32} {word}")
    print(f"{len(seen)} of {len(can)} faults seen")
    return int(len(seen) < _ENOUGH * len(can) or any(each.alarm for each in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
