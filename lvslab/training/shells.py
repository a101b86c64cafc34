"""Interactive shells on the student's nodes: several at once, each on a terminal of the node's own
kernel. What they show is kept, so that whoever comes back sees it again, and whoever looks over a
student's shoulder sees it, too.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lvslab.errors import CommandError, GuestError
from lvslab.host.scripts import guest_file, guest_script
from lvslab.kernels import guestfiles
from lvslab.lab.guest_process import GuestProcess
from lvslab.lab.nodes import GuestNode
from lvslab.training.line import DATA, END, SIZE, Line
from lvslab.training.transcript import Transcript

_RC_FILE = "student.bashrc"
_KEPT_BYTES = 256 << 10
"""What was shown, for those who come back."""

_MARK = b"\x1b]633;E;"
_COMMAND = re.compile(rb"\x1b\]633;E;\s*\d*\*?\s*(?P<text>[^\x07]*)\x07")
"""The shell says each command before it runs, in the words of VS Code's shell integration (OSC 633
E); guest/student.bashrc.
"""

_LONGEST_MARK = 8192


class Marks:
    """Takes the shell's marks out of what it shows."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, data: bytes) -> tuple[bytes, list[str]]:
        """What is to be shown of some more data, and the commands that were in it."""
        data = self._rest + data
        commands = [match["text"].decode(errors="replace").strip() for match in _COMMAND.finditer(data)]
        data = _COMMAND.sub(b"", data)
        begun = data.find(_MARK)
        if begun < 0:
            begun = next(
                (len(data) - size for size in range(1, len(_MARK)) if data.endswith(_MARK[:size])), -1
            )
        if begun < 0 or len(data) - begun > _LONGEST_MARK:
            self._rest = b""
            return data, commands
        self._rest = data[begun:]
        return data[:begun], commands


class Scrollback:
    """The last part of what a shell showed; any number of readers, each at its own place."""

    def __init__(self) -> None:
        self._kept, self._end, self._open = bytearray(), 0, True
        self._changed = threading.Condition()

    def append(self, data: bytes) -> None:
        """Add what was just shown."""
        with self._changed:
            self._kept += data
            self._end += len(data)
            del self._kept[:-_KEPT_BYTES]
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def wake(self) -> None:
        """Let all readers look again whether they are still wanted."""
        with self._changed:
            self._changed.notify_all()

    def read(self, place: int, wanted: Callable[[], bool]) -> tuple[bytes, int]:
        """What was shown from a place on, and the place behind it; waits for something. Nothing at
        the end, or when it is not wanted any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._end > place or not self._open or not wanted())
            begin = self._end - len(self._kept)
            return bytes(self._kept[max(0, place - begin) :]), self._end


class Shell:
    """A shell that runs on a node."""

    def __init__(
        self,
        node: GuestNode,
        name: str,
        size: tuple[int, int],
        terminal: str,
        record: Path,
        hear: Callable[[str], None],
    ) -> None:
        """Start it.

        Its terminal is a serial line of the guest, so job control, Ctrl-C and full-screen programs
        work as they do at a console.

        Args:
            name: unlike that of any other shell.
            size: rows and columns.
            terminal: its kind, for TERM.
            record: file for its transcript.
            hear: hears each command before it runs.

        Raises:
            GuestError: no line is free, or the guest is gone.
        """
        self.node, self.name = node, name
        self.size = size
        self._hear = hear
        self._where = f"{node.inside}/shell.{name}"
        self.scrollback = Scrollback()
        rc_text = guest_file("lvslab.training", _RC_FILE).replace("NODE", node.name)
        guestfiles.write(node.directory / _RC_FILE, rc_text)
        rc_file = f"{node.inside}/{_RC_FILE}"
        script = guest_script("lvslab.training", "shell.sh", self._where, *size, terminal, rc_file)
        self._process: GuestProcess = node.popen(
            script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._transcript = Transcript(record, name, size)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        code = self._process.wait()
        self._reader.join()
        return code

    def type(self, data: bytes) -> None:
        """Type something."""
        assert self._process.stdin is not None
        while data:
            data = data[self._process.stdin.write(data) :]

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal another size; all who show it hear of it (`serve`).

        Raises:
            GuestError: the guest is gone.
        """
        script = guest_script("lvslab.training", "resize.sh", self._where, rows, columns)
        self.node.run(script).check(self.node.name, f"size of shell {self.name}")
        self.size = rows, columns
        self._transcript.resize(rows, columns)
        self.scrollback.wake()

    def kill(self) -> None:
        """End it."""
        with suppress(OSError, GuestError):
            self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        marks = Marks()
        with suppress(OSError):
            while data := os.read(self._process.stdout.fileno(), 65536):
                data, commands = marks.take(data)
                self.scrollback.append(data)
                self._transcript.show(data)
                for command in commands:
                    self._hear(command)
        self._transcript.close()
        self.scrollback.close()


def serve(shell: Shell, line: Line, *, read_only: bool = False) -> None:
    """Join a line to a shell until one of them ends: its size, what was shown and is shown go over
    it, what is typed and another size come back, at last the exit status.

    A shell has one size. Whoever shows it shows it in that size, for what it prints is laid out for
    it: where lines wrap, and where readline redraws them.

    Args:
        read_only: what comes back is not taken.
    """
    here = threading.Event()
    here.set()

    def listen() -> None:
        with suppress(OSError, ValueError, struct.error):
            for kind, data in line.frames():
                if kind == DATA and not read_only:
                    shell.type(data)
                elif kind == SIZE and not read_only:
                    with suppress(GuestError, CommandError):  # a shell without a guest ends by itself
                        shell.resize(*struct.unpack("!HH", data))
        here.clear()
        shell.scrollback.wake()

    threading.Thread(target=listen, daemon=True).start()
    place, told = 0, (0, 0)

    def nothing_else() -> bool:
        return here.is_set() and told == shell.size

    with suppress(OSError):
        while here.is_set():
            data, place = shell.scrollback.read(place, nothing_else)
            if resized := told != shell.size:
                told = shell.size
                line.send_frame(SIZE, struct.pack("!HH", *told))
            if data:
                line.send_frame(DATA, data)
            elif here.is_set() and not resized:
                line.send_frame(END, struct.pack("!i", shell.wait()))
                return
