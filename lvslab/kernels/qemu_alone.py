"""The trial boot under QEMU of a stock kernel that cannot be a director because it has no 9p, as
Debian's :cloud ones: `lvslab bench` runs those.

Everything that it needs comes along in the initramfs, whose program is guest/alone.sh.
"""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

from lvslab.errors import GuestError
from lvslab.kernels import alone, initramfs, kvm
from lvslab.kernels.machine import STOCK_MEMORY_MIB

_BOOT_SECONDS = 120.0
_RELEASE, _LOADED = "=release ", "=ipvs "
_IPVS = "ip_vs"


def boot(image: Path, modules: initramfs.ModuleTree, console: Path) -> str:
    """Boot a kernel image alone, to its end.

    Args:
        console: file for what it prints.

    Returns:
        The release that it says it is.

    Raises:
        CannotError: QEMU or busybox is not installed.
        GuestError: it did not boot, or cannot load IPVS.
    """
    everything = console.with_name("alone.cpio")
    everything.write_bytes(archive(modules, initramfs.static_busybox()))
    try:
        command = [kvm.program(), *arguments(image, everything)]
        with (
            console.open("wb") as out,
            alone.running(command, (image, everything), stdout=out, stderr=subprocess.STDOUT) as qemu,
        ):
            qemu.wait(_BOOT_SECONDS)
    except subprocess.TimeoutExpired:
        raise GuestError(f"did not boot within {_BOOT_SECONDS:g} s (console: {console})") from None
    lines = console.read_text(errors="replace").splitlines()
    release = next((line.partition(_RELEASE)[2].strip() for line in lines if _RELEASE in line), None)
    if release is None:
        raise GuestError(f"ended without a word of its own (console: {console})")
    if not any(_LOADED in line for line in lines):
        raise GuestError(f"cannot load {_IPVS} (console: {console})")
    return release


def arguments(image: Path, archive: Path) -> list[str]:
    """What QEMU is told. The processor is emulated, so this works on every machine; its least one
    lacks the CRC instructions whose driver IPVS wants.
    """
    machine = [
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        str(STOCK_MEMORY_MIB),
        "-nodefaults",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
    ]
    return [
        *machine,
        "-kernel",
        str(image),
        "-initrd",
        str(archive),
        "-append",
        "console=ttyS0 panic=-1 quiet",
    ]


def archive(tree: initramfs.ModuleTree, busybox: Path) -> bytes:
    """The initramfs: busybox, IPVS with what it depends on, and the script."""
    directories = ("bin", "dev", "lib", "lib/modules", f"lib/modules/{tree.release}", "proc")
    executable = stat.S_IFREG | 0o755
    return initramfs.cpio(
        [
            *(initramfs.Entry(name, stat.S_IFDIR | 0o755) for name in directories),
            initramfs.Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)),
            initramfs.Entry("bin/busybox", executable, busybox.read_bytes()),
            initramfs.Entry("init", executable, initramfs.guest_script("alone.sh")),
            *initramfs.module_entries(tree, [_IPVS]),
        ]
    )
