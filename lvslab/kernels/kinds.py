"""The kinds of kernels: the machine's own, which is just there, and those that boot as guests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lvslab.errors import CannotError, UsageError
from lvslab.kernels.machine import Kernel
from lvslab.kernels.qemu import QemuKernel
from lvslab.kernels.uml import UmlKernel
from lvslab.kernels.virtual_time import VirtualTimeKernel

HOST = "host"
"""The machine's own kernel, by this name in `--kernel` and in records."""

KINDS: Mapping[str, type[Kernel]] = {kind.kind: kind for kind in (UmlKernel, QemuKernel, VirtualTimeKernel)}
"""The kinds that boot as guests, cheapest first; the name of each means the installed one."""

CHEAPEST: type[Kernel] = next(iter(KINDS.values()))
"""What a node boots that must have a kernel of its own and asks for no other."""

_FOREIGN_AT = 0x38
_FOREIGN = {b"ARM\x64": "ARM", b"RSC\x05": "RISC-V"}
"""Magic numbers of images for other machines (Documentation/arch/arm64/booting.rst,
Documentation/arch/riscv/boot-image-header.rst).
"""


def kernel_at(directory: Path, extra_arguments: tuple[str, ...] = ()) -> Kernel:
    """The kernel in a directory, of the kind that lies there.

    Raises:
        CannotError: none, or not all of it.
    """
    for kind in KINDS.values():
        if (directory / kind.file_names[0]).is_file():
            return kind.at(directory, extra_arguments)
    names = " or ".join(kind.file_names[0] for kind in KINDS.values())
    raise CannotError(f"{directory}: not a whole kernel: needs {names}, and one tree modules/RELEASE")


def recognise(file: Path) -> type[Kernel]:
    """What kind of kernel a file is: of several that it could be, the one whose name it bears.

    Raises:
        UsageError: none that lvslab can boot; says what it seems to be.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(_FOREIGN_AT + 4)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    for kind in sorted(KINDS.values(), key=lambda kind: file.name not in kind.file_names):
        if kind.recognises(file):
            return kind
    machine = _FOREIGN.get(head[_FOREIGN_AT:])
    if machine:
        raise UsageError(f"{file}: a kernel for {machine}; lvslab boots x86-64 only")
    known = " or ".join(f"a {kind.title} ({', '.join(kind.file_names)})" for kind in KINDS.values())
    raise UsageError(f"{file}: no kernel; give {known}")
