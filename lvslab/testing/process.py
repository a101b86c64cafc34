"""A process in a sandbox for one test: bounded in time, interruptible, and with all that it started
gone when it is.

    the session  ── forks, reads messages until there are none left
      └─ guard     ── a process with one thread, which `lvslab.host.sandbox.run` wants for its signals
           └─ …      ── the sandbox, and in it the work

Whatever ends the session also ends the guard (PR_SET_PDEATHSIG), and with it the sandbox.
"""  # noqa: W505

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from lvslab.errors import CannotError, LabError
from lvslab.exitcodes import ExitCode
from lvslab.host import linux, sandbox

END_SECONDS = 20.0
"""So long an interrupted test may take to put its labs away."""

UNLIMITED = "unlimited"
"""The message that lifts the time limit: somebody is debugging."""

_CANNOT = "cannot"

Send = Callable[[str, Any], None]
"""Takes a word and something that can be pickled; the session gets both."""


def carry_out(work: Callable[[Send], None], take: Send, limit: float | None) -> int:
    """Do some work in a forked process in a sandbox of its own.

    Args:
        work: what to do there; what it raises is printed and makes the exit code 69.
        take: gets every message of the work, here.
        limit: seconds after which all of it is killed; None: never.

    Returns:
        The exit code: 0, or 128 plus the signal that ended it.

    Raises:
        CannotError: this machine has no sandbox.
        LabError: the work had not ended when its time was up.
        KeyboardInterrupt: this process was interrupted; the work has ended, with its clean-up
            unless that took too long.
    """
    ours, theirs = Pipe(duplex=False)
    sys.stdout.flush()  # what is still in a buffer would come out twice
    sys.stderr.flush()
    session = os.getpid()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads; the work takes no lock that a thread of the
        # session could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        guard = os.fork()
    if guard == 0:
        ours.close()
        _guard(work, theirs, session)
    theirs.close()
    deadline = None if limit is None else time.monotonic() + limit
    cannot: str | None = None
    try:
        while True:
            if not ours.poll(None if deadline is None else max(0.0, deadline - time.monotonic())):
                raise LabError(f"killed: no end within {limit:g} s")
            try:
                word, value = ours.recv()
            except EOFError:
                break
            if word == UNLIMITED:
                deadline = None
            elif word == _CANNOT:
                cannot = value
            else:
                take(word, value)
    except KeyboardInterrupt:
        _end(guard, signal.SIGINT)
        raise
    except BaseException:
        _end(guard, signal.SIGKILL)
        raise
    finally:
        ours.close()
    code = os.waitstatus_to_exitcode(os.waitpid(guard, 0)[1])
    if cannot is not None:
        raise CannotError(cannot)
    return code if code >= 0 else 128 - code


def _guard(work: Callable[[Send], None], line: Connection, session: int) -> NoReturn:
    code: int = ExitCode.LAB_BROKE
    try:
        linux.die_with_parent(signal.SIGKILL)
        if os.getppid() != session:  # it died before the kernel was told to watch it
            os._exit(ExitCode.INTERRUPTED)

        def main() -> int:
            work(lambda word, value: line.send((word, value)))
            return ExitCode.OK

        code = sandbox.run(main)
    except CannotError as error:
        line.send((_CANNOT, str(error)))
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _end(guard: int, sign: signal.Signals) -> None:
    """End the guard and thereby everything below it; by force if asked for, or if it takes too
    long.
    """
    with suppress(ProcessLookupError):
        os.kill(guard, sign)
    deadline = time.monotonic() + END_SECONDS
    try:
        while os.waitpid(guard, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        else:
            return
    except KeyboardInterrupt:  # impatient
        pass
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(guard, signal.SIGKILL)
        os.waitpid(guard, 0)
