"""Whether a file is a User-Mode Linux program, by its ELF header (elf(5)) and what it prints."""

from __future__ import annotations

import struct
from pathlib import Path

from lvslab.errors import UsageError

_ELF, _X86_64, _EXECUTABLE = b"\x7fELF", 62, (2, 3)
_MARK = b"User Mode Linux"
"""Stands in every User-Mode Linux program: arch/um/kernel/um_arch.c prints it."""

_INTERPRETER = 3  # PT_INTERP
_SYSTEM = ("lib", "lib32", "lib64", "usr")

_MACHINES = {
    3: "32-bit x86",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC",
    22: "s390",
    40: "32-bit ARM",
    183: "ARM",
    243: "RISC-V",
}


def libraries(file: Path) -> tuple[Path, ...]:
    """What a program needs that brings a C library of its own: the folder of its loader (PT_INTERP)
    and the libraries beside the program. Nothing where the loader is the system's.
    """
    with file.open("rb") as opened:
        head = opened.read(64)
        start, size, count = (*struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54))
        opened.seek(start)
        table = opened.read(size * count)
        for number in range(count):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", table, number * size)
            if kind == _INTERPRETER:
                opened.seek(offset)
                loader = Path(opened.read(length).rstrip(b"\0").decode())
                own = loader.parts[1] not in _SYSTEM
                return (loader.parent, *sorted(file.parent.glob("lib*.so*"))) if own else ()
    return ()


def is_program(file: Path) -> bool:
    """Whether it is one, for this machine.

    Raises:
        UsageError: it is an ELF file of another sort; says which.
    """
    with file.open("rb") as opened:
        head = opened.read(20)
    if not head.startswith(_ELF) or len(head) < 20:
        return False
    kind, machine = struct.unpack_from("<HH", head, 16)
    if machine != _X86_64:
        raise UsageError(
            f"{file}: a program for {_MACHINES.get(machine, f'machine {machine}')}; lvslab boots x86-64 only"
        )
    if kind not in _EXECUTABLE:
        raise UsageError(
            f"{file}: an object file, no program; give the program linux that `make ARCH=um` links"
        )
    if _MARK not in file.read_bytes():
        raise UsageError(
            f"{file}: a program, but not User-Mode Linux; of another kernel give the image"
            " arch/x86/boot/bzImage, not vmlinux"
        )
    return True
