"""What goes wrong in a command, as an exit code and one line on standard error."""

from __future__ import annotations

import os
import select
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from lvslab.errors import LvslabError
from lvslab.exitcodes import ExitCode


def guarded(work: Callable[[], int | None]) -> int:
    """The exit code of a command; what goes wrong in it becomes one line."""
    from lvslab.cli.terminal import print_error

    try:
        code = int(work() or 0)
        sys.stdout.flush()
    except LvslabError as problem:
        print_error(str(problem))
        return int(problem.exit_code)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_unread(sys.stdout.fileno()):
            with Path(os.devnull).open("w") as nowhere:  # Python flushes what is left at its end
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            return ExitCode.READER_GONE
        print_error(_mishap(error))
        return ExitCode.LAB_BROKE
    return code


def _is_unread(pipe: int) -> bool:
    """Whether the reading end of a pipe is closed (poll(2), POLLERR)."""
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))


def _mishap(error: Exception) -> str:
    """What to say of a mistake of lvslab's own; the whole trace goes to a file."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    with tempfile.NamedTemporaryFile(
        "w", prefix="lvslab-", suffix=".txt", delete=False, encoding="utf-8"
    ) as trace:
        trace.write("".join(traceback.format_exception(error)))
    return (
        f"a mistake in lvslab: {type(error).__name__}: {error} ({Path(last.filename).name}, line"
        f" {last.lineno}); please report it with {trace.name}"
    )
