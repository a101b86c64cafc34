"""`lvslab run --time virtual --until T --shell`: a console on the directors of a world that stands
still.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lvslab.errors import CannotError, GuestError

if TYPE_CHECKING:
    from lvslab.cli.terminal import Progress
    from lvslab.lab.worlds import AnyLab

_END = ("exit", "quit")


def open_console(progress: Progress, lab: AnyLab) -> None:
    """Run lines of standard input as /bin/sh scripts in a director until they end; the name of
    another director changes over to it. No time passes between lines, and in a line as much as its
    commands wait for.

    Raises:
        CannotError: no director is on.
    """
    progress.pause()
    _Console(lab).run()
    progress.go_on()


class _Console:
    def __init__(self, lab: AnyLab) -> None:
        self._lab = lab
        self._directors = [node.name for node in lab.plan.directors if lab.is_on(node.name)]
        if not self._directors:
            raise CannotError(f"--shell: no director is on at {lab.now():.9f} s; choose another --until")
        self._at = self._directors[0]

    def run(self) -> None:
        if sys.stdin.isatty():
            others = f"; {', '.join(self._directors[1:])} changes over" if self._directors[1:] else ""
            _say(f"the world stands; commands run in {self._at}{others}; Ctrl-D ends it")
        for line in self._lines():
            if line in _END:
                return
            if line in self._directors:
                self._at = line
            elif line:
                self._command(line)

    def _lines(self) -> Iterator[str]:
        """The lines of standard input, asked for on a terminal."""
        if not sys.stdin.isatty():
            yield from (line.strip() for line in sys.stdin)
            return
        import readline  # noqa: F401  # input() takes arrow keys and has a history then

        while True:
            try:
                line = input(f"{self._at} {self._lab.now():.9f} s> ")
            except EOFError:
                sys.stdout.write("\n")
                return
            yield line.strip()

    def _command(self, line: str) -> None:
        try:
            done = self._lab.node(self._at).run(line)
        except GuestError as error:
            _say(str(error))
            return
        sys.stdout.write(done.out)
        sys.stdout.flush()
        sys.stderr.write(done.err)
        if done.code:
            _say(f"exit status {done.code}")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
