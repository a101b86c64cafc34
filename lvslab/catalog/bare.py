"""The trial boot of a stock kernel that cannot be a director because it has no 9p, as Debian's
:cloud ones: `lvslab bench` runs those.

Everything that it needs comes along in the initramfs: it says its release, loads IPVS, and switches
off.
"""

from __future__ import annotations

import stat
import subprocess
import time
from pathlib import Path
from typing import Any

from lvslab.errors import CannotError, GuestError
from lvslab.kernels import initramfs, probe
from lvslab.kernels.needs import KernelFacts, Need
from lvslab.kernels.qemu import PROGRAM, QemuKernel

_BOOT_SECONDS = 120.0
_MEMORY_MIB = 256
_RELEASE, _LOADED = "=release ", "=ipvs "
_IPVS = "ip_vs"

_INIT = f"""#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "{_RELEASE}$(/bin/busybox uname -r)"
/bin/busybox modprobe {_IPVS} && echo "{_LOADED}loaded"
/bin/busybox poweroff -f
"""


def lacks_files(kernel: QemuKernel) -> str | None:
    """Why a guest of this kernel would not see the machine's files, or None where it does."""
    missing = initramfs.missing_modules(kernel.modules, initramfs.p9().drivers)
    return (
        f"the kernel has no {', '.join(missing)}, so it cannot see the machine's programs"
        if missing
        else None
    )


def try_bare(kernel: QemuKernel, why: str, console: Path) -> dict[str, Any]:
    """Boot it alone.

    Args:
        why: it lacks everything that a lab asks for.
        console: file for what it prints.

    Returns:
        What trial.py writes of other kernels.

    Raises:
        CannotError: QEMU or busybox is not installed.
        GuestError: it did not boot, or cannot load IPVS.
    """
    image = console.with_name("bare.cpio")
    image.write_bytes(archive(kernel.modules, initramfs.static_busybox()))
    began = time.monotonic()
    try:
        with console.open("wb") as out:
            subprocess.run(
                ["setpriv", "--pdeathsig", "KILL", *command(kernel.image, image)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=_BOOT_SECONDS,
                check=False,
            )
    except FileNotFoundError as error:
        raise CannotError(
            f"{PROGRAM}: not installed; run: apt-get install --no-install-recommends qemu-system-x86"
        ) from error
    except subprocess.TimeoutExpired:
        raise GuestError(f"did not boot within {_BOOT_SECONDS:g} s (console: {console})") from None
    lines = console.read_text(errors="replace").splitlines()
    release = next((line.partition(_RELEASE)[2].strip() for line in lines if _RELEASE in line), None)
    if release is None:
        raise GuestError(f"ended without a word of its own (console: {console})")
    if not any(_LOADED in line for line in lines):
        raise GuestError(f"cannot load {_IPVS} (console: {console})")
    facts = KernelFacts(
        kernel.kind, release, kernel.config_sha256, frozenset(), dict.fromkeys(Need, why), None
    )
    return {
        "extra_arguments": [],
        "boot_seconds": round(time.monotonic() - began, 3),
        "facts": probe.facts_to_json(facts),
    }


def command(image: Path, archive: Path) -> list[str]:
    """How QEMU is called. The processor is emulated, so this works on every machine; its least one
    lacks the CRC instructions whose driver IPVS wants.
    """
    machine = [
        "-accel",
        "tcg",
        "-cpu",
        "max",
        "-m",
        str(_MEMORY_MIB),
        "-nodefaults",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-no-reboot",
    ]
    return [
        PROGRAM,
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
            initramfs.Entry("init", executable, _INIT.encode()),
            *initramfs.module_entries(tree, [_IPVS]),
        ]
    )
