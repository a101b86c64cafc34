"""Kernels that have no use for more than themselves: they run under bubblewrap with no network and
no file of the machine but programs.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lvslab.host import linux
from lvslab.kernels import confinement


def command_of(
    command: Sequence[str],
    files: Sequence[Path],
    *,
    folder: Path | None = None,
    devices: Sequence[Path] = (),
) -> list[str]:
    """A command that runs with no network, no capability and no file of the machine but programs,
    and ends with the calling thread: the kernels that have no use for more.

    Args:
        files: that it reads, at their own paths.
        folder: where it writes, if anywhere.
        devices: that it opens.
    """
    return [
        *("bwrap", "--unshare-all", "--as-pid-1", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
        *("--ro-bind", "/usr", "/usr"),
        *confinement.top_folders(),
        *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
        *("--proc", "/proc", "--dev", "/dev"),
        *(word for device in devices for word in ("--dev-bind", str(device), str(device))),
        *(word for path in files for word in ("--ro-bind", str(path), str(path))),
        *(("--bind", str(folder), str(folder)) if folder else ()),
        *("--chdir", "/", "--", *command),
    ]


@contextmanager
def running(
    command: Sequence[str],
    files: Sequence[Path],
    *,
    folder: Path | None = None,
    devices: Sequence[Path] = (),
    **streams: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs so until the block is left, whatever ends that; Ctrl-C is for
    lvslab, which then ends it.

    Args:
        streams: of `subprocess.Popen`: stdout, stderr, pass_fds.
    """
    with subprocess.Popen(
        command_of(command, files, folder=folder, devices=devices),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **streams,
    ) as process:
        try:
            yield process
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End bubblewrap and what it has started. In its first milliseconds its child has not asked to
    die with it yet (prctl(2), PR_SET_PDEATHSIG) and would outlive it: so it is held, that it starts
    nobody any more, and its child is ended before it.
    """
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    for child in linux.children_of(process.pid):
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    process.kill()
