"""The command line in a process of its own, for tests."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from lvslab import cli


@dataclass(frozen=True)
class Done:
    """A finished command line: its exit code and what it said."""

    code: int
    out: str
    err: str


def lvslab(*arguments: str, place: Path) -> Done:
    """Run the command line in a folder, in a process that has most modules already: Python's own
    start and imports cost more than most commands.
    """
    files = [place.parent / f"{place.name}.{stream}" for stream in ("out", "err")]
    child = os.fork()
    if child == 0:
        code = 255
        try:
            os.setsid()
            os.chdir(place)
            for number, file in enumerate(files, start=1):
                os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            sys.argv = ["lvslab", *arguments]
            os.environ["XDG_STATE_HOME"] = str(place.parent / "state")
            cli.main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return Done(os.waitstatus_to_exitcode(status), *(file.read_text(encoding="utf-8") for file in files))
