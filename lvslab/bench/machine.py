"""One boot of a measured kernel under QEMU in virtual time.

Every instruction takes one nanosecond of virtual time (`-icount shift=0`), and while nothing is to
be done time leaps (`sleep=off`), so the guest sees nothing of the host: not its load, not its
clock. What else could differ from one boot to the next is fixed: no address randomization, a clock
that starts at one date (`-rtc clock=vm`), one processor, no device but two serial lines into files,
and random numbers that follow from the seed (`-seed`, which also gives the processor's RDRAND). Two
boots with one seed are the same to the last bit.

The processor is a plain one without fast string instructions (ERMS, FSRM), and the kernel is told
not to take the slow ones for fast (`clearcpuid=112`, REP_GOOD in
arch/x86/include/asm/cpufeatures.h): a `rep movsb` is counted once for every byte, which no
processor takes for it, and init_on_alloc would be the largest part of every figure. Nor does it
work round the processor's leaks (`mitigations=off`): what those cost is time, not instructions.

Slabs are large (`slub_min_order`): a packet has two buffers of one size at a time, and where the
slab in use has just one free object left, each packet takes the allocator's slow path twice, some
280 instructions, for as long as nothing else comes along. Whether it is so is an accident of what
ran before; with sixteen times as many objects in a slab it hardly ever is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lvslab.bench.kernel import BenchKernel
from lvslab.errors import CannotError, GuestError
from lvslab.host import linux
from lvslab.kernels import alone, kvm

MEMORY_MIB = 512
KERNEL_ARGUMENTS = " ".join(
    (
        *("console=ttyS0", "quiet", "loglevel=4", "panic=-1"),
        *(
            "nokaslr",
            "mitigations=off",
            "tsc=reliable",
            "clearcpuid=112",
            "slub_max_order=5",
            "slub_min_order=5",
        ),
    )
)

SILENT_CPU_SECONDS = 120.0
"""A kernel that has used up so much of a processor without a word hangs; time of the processor,
because the machine may be busy.
"""

SILENT_SECONDS = 1200.0
"""The same in plain time, for one that does not even run."""

_LAST_LINES = 6


def require_qemu() -> None:
    """Refuse to start without QEMU.

    Raises:
        CannotError: it is not installed.
    """
    kvm.program()
    for program, package in (("bwrap", "bubblewrap"), ("ldd", "libc-bin")):
        if not shutil.which(program):
            raise CannotError(
                f"{program}: not installed; run: apt-get install --no-install-recommends {package}"
            )


def version() -> str | None:
    """QEMU's version as it prints it."""
    done = subprocess.run([kvm.PROGRAM, "--version"], capture_output=True, text=True, timeout=20, check=False)
    return next(iter(done.stdout.splitlines()), None)


def command(kernel: BenchKernel, archive: Path, seed: int, console: Path, results: Path) -> list[str]:
    """The whole command line of a boot."""
    return [
        kvm.PROGRAM,
        "-accel",
        "tcg,thread=single",
        "-icount",
        "shift=0,sleep=off",
        "-rtc",
        "clock=vm,base=2026-01-01T00:00:00",
        "-seed",
        str(seed),
        "-smp",
        "1",
        "-cpu",
        "Nehalem-v1,+rdrand",
        "-m",
        str(MEMORY_MIB),
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        f"file:{console}",
        "-serial",
        f"file:{results}",
        "-kernel",
        str(kernel.stock.image),
        "-initrd",
        str(archive),
        "-append",
        KERNEL_ARGUMENTS,
    ]


class Boot:
    """A running boot; a context manager that ends it."""

    def __init__(self, kernel: BenchKernel, archive: int, seed: int, directory: Path) -> None:
        """`archive` is an open file; `directory` must exist: console.log, results.log and qemu.log
        are written into it.
        """
        self.kernel, self.seed = kernel, seed
        self._archive, self._directory = archive, directory
        self._lines: list[str] = []
        self._offset, self._heard_at, self._cpu_at = 0, 0.0, 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._open = ExitStack()

    @property
    def results(self) -> Path:
        return self._directory / "results.log"

    def __enter__(self) -> Self:
        self.results.touch()
        archive = Path(f"/proc/self/fd/{self._archive}")
        with (self._directory / "qemu.log").open("wb") as log:
            self._process = self._open.enter_context(
                alone.running(
                    command(self.kernel, archive, self.seed, self._directory / "console.log", self.results),
                    (self.kernel.stock.image,),
                    folder=self._directory,
                    stdout=log,
                    stderr=log,
                    pass_fds=(self._archive,),
                )
            )
        self._heard_at = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def listen(self) -> Sequence[str]:
        """All whole lines that the guest has said so far.

        Raises:
            GuestError: it has said nothing for too long.
        """
        with self.results.open("rb") as stream:
            stream.seek(self._offset)
            whole, mark, _ = stream.read().rpartition(b"\n")
        if mark:
            self._offset += len(whole) + 1
            self._lines += [line.decode(errors="replace").rstrip("\r") for line in whole.split(b"\n")]
            self._heard_at, self._cpu_at = time.monotonic(), self._cpu_seconds()
        elif self.running:
            silent, worked = time.monotonic() - self._heard_at, self._cpu_seconds() - self._cpu_at
            if worked > SILENT_CPU_SECONDS or silent > SILENT_SECONDS:
                raise self.error(f"silent for {silent:.0f} s, {worked:.0f} s of them on the processor")
        return self._lines

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """QEMU's exit status."""
        return self._process.poll() if self._process else None

    def error(self, cause: str) -> GuestError:
        """An error with the last lines of the console, or of QEMU itself."""
        said = [line for name in ("qemu.log", "console.log") for line in _tail(self._directory / name)]
        shown = " | ".join(said[-_LAST_LINES:]) or "nothing on its console"
        return GuestError(
            f"kernel '{self.kernel.name}', seed {self.seed}: {cause}; it said last: {shown}; all of it:"
            f" {self._directory}"
        )

    def _cpu_seconds(self) -> float:
        """What QEMU has used of the processor (proc(5), fields 14 and 15 of stat)."""
        assert self._process is not None
        try:
            (qemu,) = linux.children_of(self._process.pid)
            fields = Path(f"/proc/{qemu}/stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            return self._cpu_at  # not yet there, or just ended
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _tail(path: Path) -> list[str]:
    """The last lines of a log that say anything."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()][-_LAST_LINES:]
