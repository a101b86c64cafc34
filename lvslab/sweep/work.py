"""One cell carried out: `lvslab` in a process of its own, whose run directory comes back as an
archive. Nothing of it outlives the worker that started it.
"""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import CannotError, LabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.host.linux import bound
from lvslab.kernels.kinds import CHEAPEST
from lvslab.sweep.cell import Cell
from lvslab.sweep.kernels import kernel_of

LOG = "cell.log"
"""Among the logs of a cell's run directory: what the command said."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        code: exit code of its command.
        error: why it has no verdict, or "".
        seconds: how long it took.
        machine: the name of the machine that did it.
        archive: its run directory as a compressed tar file; empty where it left none.
    """

    code: ExitCode
    error: str
    seconds: float
    machine: str
    archive: bytes = b""


def carry_out(cell: Cell, place: Path | None = None, processor: int | None = None) -> Outcome:
    """Carry a cell out.

    Args:
        place: where its files are meanwhile; None: the folder for temporary files.
        processor: the only one that it may use, where it shares the machine.
    """
    began = time.monotonic()
    if problem := _other_kernel(cell):
        return Outcome(ExitCode.LAB_BROKE, problem, 0.0, platform.node())
    with tempfile.TemporaryDirectory(prefix="lvslab-cell-", dir=place) as folder:
        runs, log = Path(folder) / "runs", Path(folder) / LOG
        with log.open("wb") as stream:
            code = _known(
                subprocess.run(
                    _command(cell, runs, processor),
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,  # Ctrl-C is for whoever runs the sweep
                    check=False,
                ).returncode
            )
        said = log.read_text(encoding="utf-8", errors="replace")
        left = [each for each in runs.iterdir() if each.is_dir()] if runs.is_dir() else []
        error = ""
        if code not in (ExitCode.OK, ExitCode.FAILED):
            lines = [line for line in said.splitlines() if line.strip()] or ["it said nothing"]
            error = lines[-1].removeprefix("lvslab: ")
        archive = b""
        if len(left) == 1:
            (left[0] / "logs").mkdir(exist_ok=True)
            log.replace(left[0] / "logs" / LOG)
            archive = packed(left[0])
        return Outcome(code, error, time.monotonic() - began, platform.node(), archive)


def _other_kernel(cell: Cell) -> str:
    """Why this machine cannot carry out a cell that another one has planned; "" where it can."""
    name = cell.words[cell.words.index("--kernel") + 1] if "--kernel" in cell.words else ""
    try:
        here = kernel_of(cell.identity["kind"], "virtual" if cell.identity.get("world") else "real", name)
    except (UsageError, CannotError) as error:
        return f"{platform.node()}: {error}"
    if here.guest == str(cell.identity["kernel"]).rpartition(", ")[2]:
        return ""
    return (
        f"{platform.node()}: kernel '{name or CHEAPEST.kind}' is another build here than where the sweep was"
        " started; fetch or add the same on both"
    )


def _command(cell: Cell, runs: Path, processor: int | None) -> Sequence[str]:
    """The command line: it dies with the thread that waits for it (setpriv(1), prctl(2))."""
    pinned = ["taskset", "--cpu-list", str(processor)] if processor is not None else []
    return bound([*pinned, sys.executable, "-m", "lvslab", *cell.words, "--runs", str(runs)])


def _known(code: int) -> ExitCode:
    """The exit code of lvslab; of a command that a signal ended, or that is none of lvslab's, that
    the lab broke.
    """
    return ExitCode(code) if code in set(ExitCode) else ExitCode.LAB_BROKE


def packed(directory: Path) -> bytes:
    """The files of a directory as a compressed archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(directory, arcname=".")
    return buffer.getvalue()


def unpack(archive: bytes, directory: Path) -> None:
    """Put the files of an archive into an existing directory; nothing that would lie outside it.

    Raises:
        LabError: it is not whole, or not one that `packed` makes.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            opened.extractall(directory, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise LabError(f"{directory}: the cell's files cannot be unpacked: {error}") from error
