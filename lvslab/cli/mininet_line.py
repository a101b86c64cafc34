"""Mininet's command line, as `lvslab shell` opens it."""

from __future__ import annotations

from contextlib import suppress

from mininet.cli import CLI

from lvslab.errors import LvslabError
from lvslab.lab.nodes import GuestNode, LabHost
from lvslab.training.terminal import window


class CommandLine(CLI):  # type: ignore[misc]
    """Before each command the nodes' terminals get the size of the user's, so that programs wrap
    and draw as large as they are seen. What runs when the window changes keeps the old size.
    """

    _told: tuple[int, int] | None = None

    def onecmd(self, line: str) -> bool:
        """Called by cmd.Cmd for each line, and by Mininet for those of a file."""
        if (size := window()) != self._told:
            self._told = size
            for node in self.mn.hosts:
                if isinstance(node, GuestNode | LabHost):
                    with suppress(LvslabError):  # one that is off has no terminal
                        node.resize(*size)
        leaves: bool = super().onecmd(line)
        return leaves
