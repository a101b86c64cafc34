"""Every exception that lvslab raises on purpose.

    LvslabError                 has .exit_code, the process's exit code
    ├── UsageError              2   wrong input: unknown mode, address clash, typo in a scenario
    ├── CannotError             4   this machine cannot do it: tool, permission or kernel feature missing
    ├── StoppedError            0   it was ended where the user said
    └── LabError                69  the lab broke while it ran
        ├── GuestError              a guest kernel died, panicked or never became ready
        └── CommandError            a set-up command inside a node failed

A message names the object, the cause and the next step, in one line.
"""  # noqa: W505

from __future__ import annotations

from collections.abc import Sequence

from lvslab.exitcodes import ExitCode


class LvslabError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = ExitCode.LAB_BROKE


class UsageError(LvslabError):
    """The input is wrong; nothing has been started."""

    exit_code = ExitCode.USAGE


class CannotError(LvslabError):
    """This machine cannot do what was asked."""

    exit_code = ExitCode.CANNOT


class StoppedError(LvslabError):
    """It has ended where the user said, which is no fault of anybody's."""

    exit_code = ExitCode.OK


class LabError(LvslabError):
    """The lab broke while it ran."""


class GuestError(LabError):
    """A guest kernel died, panicked or did not become ready in time."""


class CommandError(LabError):
    """A command inside a node failed.

    Attributes:
        node: name of the node.
        command: what was run, an argument list or a script.
        code: exit status.
        output: standard output and error, as text.
    """

    def __init__(self, node: str, command: str | Sequence[str], code: int, output: str) -> None:
        self.node, self.command, self.code, self.output = node, command, code, output
        shown = command if isinstance(command, str) else " ".join(command)
        lines = [line for line in output.strip().splitlines() if line.strip()]
        super().__init__(
            f"{node}: '{shown.strip().splitlines()[0] if shown.strip() else ''}' failed with status {code}: "
            f"{'; '.join(lines[-2:]) or 'no output'}"
        )

    def __reduce__(self) -> tuple[type[CommandError], tuple[str, str | Sequence[str], int, str]]:
        """Errors may cross process boundaries; the default would pass the message alone."""
        return (type(self), (self.node, self.command, self.code, self.output))
