"""User-Mode Linux kernels for virtual time: built with a clock that a calendar outside moves
(CONFIG_UML_TIME_TRAVEL_SUPPORT), with virtio devices behind sockets (CONFIG_VIRTIO_UML), and with
all modules built in.

They take part in simulated worlds only: a lab on the real clock cannot give them network cards.
"""

from __future__ import annotations

import hashlib
import platform
import re
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import NoReturn

from lvslab.errors import CannotError, GuestError
from lvslab.kernels import alone, initramfs, registers
from lvslab.kernels.confinement import END_TOGETHER
from lvslab.kernels.machine import Kernel, fingerprint

SEED_LIBRARY = "seed.so"
"""Beside the kernel's program: preload/seed.c, compiled where the kernel was."""

START_DATE = 1_700_000_000
"""At which every world begins, in seconds since the epoch: a date of the machine's would be
chance.
"""

FIXED_ADDRESSES = ("setarch", platform.machine(), "--addr-no-randomize")
"""Before its program: a User-Mode Linux kernel has the less memory the farther its heap begins from
its program, which the machine moves by chance (arch/um/kernel/um_arch.c: physmem begins behind
brk(2)). Sizes of its tables follow from the memory, and from those, for example, IP identifiers.
"""

_WHY = "it runs in virtual time only"
_SLEEP_SECONDS = 600
_TRIAL_SECONDS = 150.0
"""Of real time for one boot: less than the guest sleeps in it."""

_COMPILE_SECONDS = 60.0


@dataclass(frozen=True)
class VirtualTimeKernel(Kernel):
    """A User-Mode Linux program for virtual time, its (empty) tree of modules, and the library that
    takes chance away from it.
    """

    binary: Path
    modules: initramfs.ModuleTree
    extra_arguments: tuple[str, ...] = ()

    kind = "virtual-time"
    title = "User-Mode Linux program for virtual time"
    file_names = ("linux.vt",)
    companions = (SEED_LIBRARY,)
    packages = ("busybox-static",)
    tried_unasked = False
    is_stock = False
    use = "lvslab run SCENARIO --time virtual --kernel {}"

    @classmethod
    def installed(cls) -> VirtualTimeKernel:
        """No package has one.

        Raises:
            CannotError: always.
        """
        raise CannotError(
            "virtual-time: no package has such a kernel; run: lvslab kernels build debian/trixie"
            " --virtual-time"
        )

    @classmethod
    def at(cls, directory: Path, extra_arguments: tuple[str, ...] = ()) -> VirtualTimeKernel:
        """See `Kernel.at`."""
        binary, trees = directory / cls.file_names[0], sorted((directory / "modules").glob("*/modules.dep"))
        if not binary.is_file() or len(trees) != 1 or not (directory / SEED_LIBRARY).is_file():
            raise CannotError(
                f"{directory}: not a whole kernel: needs the program {binary.name}, {SEED_LIBRARY}, and one"
                " tree modules/RELEASE"
            )
        return cls(binary, initramfs.ModuleTree(trees[0].parent), extra_arguments)

    @classmethod
    def recognises(cls, file: Path) -> bool:
        """By its name: to `lvslab kernels add` any other program is an ordinary one."""
        return file.name in cls.file_names

    @property
    def libraries(self) -> tuple[Path, ...]:
        """To be loaded before it.

        Raises:
            CannotError: one must be compiled, and no compiler is here.
        """
        return (self.binary.with_name(SEED_LIBRARY), *registers.library(self.modules.release))

    @property
    def image_file(self) -> Path:
        """See `Kernel.image_file`."""
        return self.binary

    @cached_property
    def config_sha256(self) -> str | None:
        """See `Kernel.config_sha256`."""
        shown = subprocess.run([self.binary, "--showconfig"], capture_output=True, timeout=30, check=False)
        return hashlib.sha256(shown.stdout).hexdigest() if shown.returncode == 0 and shown.stdout else None

    @property
    def identity(self) -> str:
        """See `Kernel.identity`."""
        return fingerprint(self.binary, self.modules, self.extra_arguments)

    def cannot_direct(self) -> str | None:
        """See `Kernel.cannot_direct`: always."""
        return _WHY

    def boot(self, *_words: object, **_options: object) -> NoReturn:
        """There are no cards for it on the real clock.

        Raises:
            CannotError: always.
        """
        raise CannotError(f"{self.binary}: {_WHY}; give another kernel, or: --time virtual")

    def boot_alone(self, console: Path) -> str:
        """See `Kernel.boot_alone`. Proves what a world hangs on: time that is slept through passes
        at once, and the same seed draws the same numbers, another one others.

        Raises:
            GuestError: it does not; the console says what it did.
        """
        archive = console.with_name("alone.cpio")
        archive.write_bytes(_archive(initramfs.static_busybox()))
        first, again, other = (self._boot_alone(seed, archive, console) for seed in (1, 1, 2))
        if first != again:
            raise GuestError(f"the same seed drew other numbers: {first.number}, {again.number}")
        if first.number == other.number:
            raise GuestError(f"another seed drew the same number, {first.number}")
        return first.release

    def _boot_alone(self, seed: int, archive: Path, console: Path) -> _Alone:
        libraries = self.libraries
        command = [
            *FIXED_ADDRESSES,
            *END_TOGETHER,
            *("env", "-i", f"--chdir={archive.parent}"),
            *(f"LD_PRELOAD={':'.join(map(str, libraries))}", f"LVSLAB_SEED={seed}", "TMPDIR=/dev/shm"),
            *_alone_arguments(self.binary, archive),
        ]
        with (
            console.open("wb") as out,
            alone.running(
                command,
                (self.binary.parent, *libraries),
                folder=archive.parent,
                stdout=out,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                process.wait(_TRIAL_SECONDS)
            except subprocess.TimeoutExpired:
                raise GuestError(
                    f"did not boot and sleep {_SLEEP_SECONDS} s of its time within {_TRIAL_SECONDS:g} s"
                    f" (console: {console})"
                ) from None
        return _Alone.read(console.read_text(errors="replace"), console)


@dataclass(frozen=True)
class _Alone:
    """What a kernel said that booted alone."""

    release: str
    number: str

    @classmethod
    def read(cls, text: str, console: Path) -> _Alone:
        """
        Raises:
            GuestError: something of it is missing or wrong.
        """
        said = dict(re.findall(r"^=(\w+) (.*?)\r?$", text, re.MULTILINE))
        if "release" not in said:
            raise GuestError(f"ended without a word of its own (console: {console})")
        before, _, after = said.get("slept", "").partition(" ")
        if not after or not _SLEEP_SECONDS <= float(after) - float(before) < _SLEEP_SECONDS + 1:
            raise GuestError(f"its clock went wrong while it slept: {said.get('slept', 'no word')}")
        if "ipvs" not in said:
            raise GuestError(f"has no IPVS built in (console: {console})")
        return cls(said["release"], said.get("number", ""))


def _alone_arguments(binary: Path, archive: Path) -> list[str]:
    """Without a calendar: `inf-cpu` lets time jump by itself."""
    return [
        str(binary),
        "mem=64M",
        "umid=alone",
        "uml_dir=uml/",
        f"initrd={archive.name}",
        *fixed_arguments(),
        "time-travel=inf-cpu",
        f"time-travel-start={START_DATE * 1_000_000_000}",
    ]


def fixed_arguments() -> list[str]:
    """Words of every command line in virtual time.

    Without trust in the processor's numbers, which are the seed's, the first getrandom(2) waits for
    entropy. Without NAPI for sending, cards send no interrupts for it.
    """
    return [
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        "panic=-1",
        "loglevel=5",  # warnings and worse: what a kernel complains of is a finding of the run
        "random.trust_cpu=on",
        "virtio_net.napi_tx=0",
    ]


def _archive(busybox: Path) -> bytes:
    executable = stat.S_IFREG | 0o755
    return initramfs.cpio(
        [
            *(initramfs.Entry(name, stat.S_IFDIR | 0o755) for name in ("bin", "dev", "proc")),
            initramfs.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
            initramfs.Entry("bin/busybox", executable, busybox.read_bytes()),
            initramfs.Entry("init", executable, initramfs.guest_script("alone_virtual.sh")),
        ]
    )


def compile_seed_library(target: Path, compiler: Sequence[str] = ("gcc",)) -> None:
    """Make the library that takes chance away from a kernel.

    Raises:
        CannotError: the compiler refuses it; says how.
    """
    source = files("lvslab.kernels") / "preload" / "seed.c"
    command = [*compiler, "-O2", "-Wall", "-shared", "-fPIC", "-x", "c", "-o", str(target), "-"]
    done = subprocess.run(
        command, input=source.read_bytes(), capture_output=True, timeout=_COMPILE_SECONDS, check=False
    )
    if done.returncode != 0:
        raise CannotError(f"seed.c: not compiled: {done.stderr.decode(errors='replace').strip()[:300]}")
