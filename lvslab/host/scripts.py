"""Programs that run in nodes, shipped as files in the folder `guest/` of the package that starts
them; and how a shell gets a script.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

_LONGEST_ARGUMENT = 100_000
"""Octets of a script that are given to a shell as an argument: Linux takes 128 KiB (execve(2))."""


def guest_file(package: str, name: str) -> str:
    """The text of a file in the `guest/` of a package, such as "lvslab.lab"."""
    return (files(package) / "guest" / name).read_text(encoding="utf-8")


def guest_script(package: str, name: str, *arguments: object) -> str:
    """A shell script in the `guest/` of a package as a text to run, with its arguments set."""
    text = guest_file(package, name)
    return f"set -- {shlex.join(map(str, arguments))}\n{text}" if arguments else text


@contextmanager
def shell_arguments(script: str, folder: Path) -> Iterator[list[str]]:
    """What makes a shell run a script: the script itself, or a file where it is too long."""
    if len(script.encode()) <= _LONGEST_ARGUMENT:
        yield ["-c", script]
        return
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix="script-") as file:
        file.write(script)
        file.flush()
        yield [file.name]
