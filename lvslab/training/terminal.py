"""The user's own terminal joined to a shell in a lab: raw, resized with the window, and put back as
it was.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import sys
import termios
import threading
import tty
from types import FrameType

from lvslab.training.line import DATA, END, SIZE, Line


def window() -> tuple[int, int]:
    """Rows and columns of the terminal; 24 and 80 where there is none."""
    try:
        size = os.get_terminal_size(sys.stdin.fileno())
    except OSError:
        return 24, 80
    return size.lines, size.columns


def join(line: Line) -> int:
    """Pass what is typed to the shell at the other end and show what it prints, until it ends.

    Returns:
        The shell's exit status; 69 if the line broke.
    """
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    before = termios.tcgetattr(stdin)
    over_read, over_write = os.pipe()
    code = [69]

    def show() -> None:
        for kind, data in line.frames():
            if kind == DATA:
                while data:
                    data = data[os.write(stdout, data) :]
            elif kind == END:
                code[0] = struct.unpack("!i", data)[0]
                break
        os.write(over_write, b".")

    def resized(number: int, frame: FrameType | None) -> None:
        line.send_frame(SIZE, struct.pack("!HH", *window()))

    winch = signal.signal(signal.SIGWINCH, resized)
    resized(signal.SIGWINCH, None)  # it may have changed since the shell was asked for
    tty.setraw(stdin)
    try:
        threading.Thread(target=show, daemon=True).start()
        while True:
            ready, _, _ = select.select([stdin, over_read], [], [])
            if over_read in ready:
                break
            data = os.read(stdin, 4096)
            if not data:
                break
            try:
                line.send_frame(DATA, data)
            except OSError:
                break
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, winch)
        os.close(over_read)
    return code[0]
