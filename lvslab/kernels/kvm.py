"""Whether KVM works here: only a trial boot tells.

/dev/kvm may be there, open, and still hang every stock kernel (seen in virtual machines that allow
nesting by half). So a kernel is booted once, with an upper bound on the time; the finding is kept
for this machine, its kernel and its QEMU, and without one that says yes, guests run on an emulated
processor.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lvslab.errors import CannotError
from lvslab.host.distribution import advice
from lvslab.kernels import alone, initramfs
from lvslab.kernels.cache import cache_directory, keep
from lvslab.kernels.machine import STOCK_MEMORY_MIB

DEVICE = Path("/dev/kvm")
PROGRAM = "qemu-system-x86_64"

_SECONDS = 20.0
"""Within these a kernel boots that boots at all: with KVM it takes one or two, on a busy machine
five.
"""

_MARK = "lvslab guest is up"
"""What guest/greet.sh says."""


def program() -> str:
    """QEMU's path.

    Raises:
        CannotError: it is not installed.
    """
    path = shutil.which(PROGRAM)
    if not path:
        raise CannotError(f"{PROGRAM}: not installed; {advice('qemu-system-x86')}")
    return path


@dataclass(frozen=True)
class Finding:
    """What a trial boot showed.

    Attributes:
        text: one line.
    """

    works: bool
    text: str


def known_to_work() -> bool:
    """Whether a trial on this machine showed that KVM works."""
    kept = _kept()
    return kept is not None and kept.works and os.access(DEVICE, os.R_OK | os.W_OK)


def try_once(image: Path) -> Finding:
    """The finding that is kept for this machine; where there is none, that of a trial with this
    kernel image.
    """
    return _kept() or try_now(image)


def try_now(image: Path) -> Finding:
    """Boot a kernel image under KVM, at most 20 seconds, and keep the finding; without device or
    program there is nothing to keep.
    """
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return Finding(False, f"no {DEVICE} for this user")
    if not shutil.which(PROGRAM):
        return Finding(False, f"{PROGRAM} is not installed")
    found = _boot(image)
    keep(_place(), lambda path: path.write_text(json.dumps(asdict(found))))
    return found


def _boot(image: Path) -> Finding:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as home:
        archive = Path(home) / "initramfs"
        archive.write_bytes(_greeting_initramfs())
        command = [
            PROGRAM,
            "-accel",
            "kvm",
            "-m",
            str(STOCK_MEMORY_MIB),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]
        command += ["-serial", "stdio", "-kernel", str(image), "-initrd", str(archive)]
        command += ["-append", "console=ttyS0 panic=-1 quiet"]
        began = time.monotonic()
        try:
            with alone.running(
                command, (image, archive), devices=(DEVICE,), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as qemu:
                out, errors = (each.decode(errors="replace") for each in qemu.communicate(timeout=_SECONDS))
        except subprocess.TimeoutExpired:
            return Finding(False, f"{DEVICE} is there, but {image.name} hung under it for {_SECONDS:g} s")
    if _MARK in out:
        return Finding(True, f"{image.name} booted in {time.monotonic() - began:.1f} s")
    said = (errors or out).strip().splitlines()
    return Finding(
        False,
        f"{DEVICE} is there, but {image.name} does not boot under it: {said[-1] if said else 'no output'}",
    )


def _greeting_initramfs() -> bytes:
    """A system that says that it is there and switches off."""
    return initramfs.cpio(
        [
            initramfs.Entry("bin", 0o40755),
            initramfs.Entry("dev", 0o40755),
            initramfs.Entry("dev/console", 0o20600, device=(5, 1)),
            initramfs.Entry("bin/busybox", 0o100755, initramfs.static_busybox().read_bytes()),
            initramfs.Entry("init", 0o100755, initramfs.guest_script("greet.sh")),
        ]
    )


def _place() -> Path:
    """Where the finding is kept: another machine, another kernel of it, or another QEMU needs a
    trial of its own.
    """
    program = shutil.which(PROGRAM)
    version = Path(program).stat().st_mtime_ns if program else 0
    return cache_directory() / f"kvm-{platform.node()}-{platform.release()}-{version:x}.json"


def _kept() -> Finding | None:
    try:
        return Finding(**json.loads(_place().read_text()))
    except (OSError, ValueError, TypeError):
        return None
