"""Interactive shells on the student's nodes: several at once, each on a terminal of the node's own
kernel.
"""

from __future__ import annotations

import itertools
import os
import shlex
import struct
import subprocess
import threading
from contextlib import suppress

from lvslab.errors import GuestError
from lvslab.lab.nodes import GuestNode, GuestProcess
from lvslab.training.line import DATA, END, SIZE, Line

_RC_FILE = "student.bashrc"
_numbers = itertools.count(1)


def serve(node: GuestNode, line: Line, rows: int, columns: int, terminal: str) -> None:
    """Run a shell on a node until it ends or its user goes away; what is typed and shown goes over
    the line, at last its exit status.

    Its terminal is a serial line of the guest, so job control, Ctrl-C and full-screen programs work
    as they do at a console.

    Raises:
        GuestError: no line is free, or the guest is gone.
    """
    where = f"{node.inside}/shell.{next(_numbers)}"
    (node.directory / _RC_FILE).write_text(_rc(node.name))
    script = (
        "there=$(readlink /proc/self/fd/0)\n"
        f'echo "$there" >{where}\n'
        f'stty -F "$there" sane -ixon rows {rows} cols {columns}\n'
        f"export TERM={shlex.quote(terminal)} HOME=/root LC_ALL=C.UTF-8\n"
        f'exec setsid -c -w bash --rcfile {node.inside}/{_RC_FILE} -i <"$there" >"$there" 2>&1\n'
    )
    process = node.popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    shown = threading.Thread(target=_show, args=(process, line), daemon=True)
    shown.start()
    threading.Thread(target=_type, args=(node, process, line, where), daemon=True).start()
    code = process.wait()
    shown.join()
    with suppress(OSError):
        line.send_frame(END, struct.pack("!i", code))


def _rc(name: str) -> str:
    return (
        f"PS1='\\[\\e[1m\\]{name}\\[\\e[0m\\]:\\w# '\n"
        "unset PROMPT_COMMAND HISTFILE\n"
        "shopt -s checkwinsize\n"
        "alias ls='ls --color=auto' ll='ls -l'\n"
        "cd /root\n"
    )


def _show(process: GuestProcess, line: Line) -> None:
    """From the shell to the user."""
    assert process.stdout is not None
    with suppress(OSError):
        while data := os.read(process.stdout.fileno(), 65536):
            line.send_frame(DATA, data)


def _type(node: GuestNode, process: GuestProcess, line: Line, where: str) -> None:
    """From the user to the shell; when the user's end is gone, so is the shell."""
    assert process.stdin is not None
    with suppress(OSError, GuestError, ValueError):
        for kind, data in line.frames():
            if kind == DATA:
                while data:
                    data = data[process.stdin.write(data) :]
            elif kind == SIZE:
                rows, columns = struct.unpack("!HH", data)
                node.run(f'stty -F "$(cat {where})" rows {rows} cols {columns}')
    with suppress(OSError, GuestError):
        process.kill()
