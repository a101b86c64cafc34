"""The outcome of a command that was run in a node."""

from __future__ import annotations

from dataclasses import dataclass

from lvslab.errors import CommandError


@dataclass(frozen=True)
class Completed:
    """Exit status, standard output and standard error of a finished command, as text."""

    code: int
    out: str
    err: str

    def check(self, node: str, command: str) -> str:
        """Standard output, when the command succeeded.

        Raises:
            CommandError: its status was not 0; names `node` and `command`.
        """
        if self.code != 0:
            raise CommandError(node, command, self.code, self.out + self.err)
        return self.out
