"""Processors with more registers than a User-Mode Linux kernel keeps.

Up to 6.12, such a kernel keeps 2,696 bytes of a program's registers (arch/x86/um/user-offsets.c:
HOST_FP_SIZE), which AVX-512 and protection keys just fill. With AMX they take 11,008, and the
machine's kernel takes back nothing less than the whole (arch/x86/kernel/fpu/regset.c:
xstateregs_set). Process 1 dies: "ptrace set fp regs failed, errno = 14". From 6.13 on, the kernel
asks for the size.

A kernel that may not read all of them keeps those of x87 and SSE
(arch/x86/um/os-Linux/registers.c). What AVX adds is lost at each page fault, for which a handler
runs in the program's process (arch/um/os-Linux/skas/process.c: get_skas_faultinfo). So libraries
are told to do without; a program that takes AVX by itself computes wrong numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lvslab.kernels import syscalls

_KEEPS_ALL = (6, 13)


@dataclass(frozen=True)
class Narrowing:
    """What a guest gets so that it does not need more registers than its kernel keeps: nothing,
    where it keeps all of them.

    Attributes:
        refusals: calls that the kernel's process is refused.
        words: of its command line, which become its programs' environment.
    """

    refusals: tuple[syscalls.Refusal, ...] = ()
    words: tuple[str, ...] = ()


TO_SSE = Narrowing(
    (syscalls.WIDE_REGISTERS,),
    (
        # with the preference, memmove takes AVX whether it is there or not (ifunc-memmove.h)
        "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-AVX_Fast_Unaligned_Load",
        # AVX and FMA of leaf 1, all of leaf 7 (OPENSSL_ia32cap(3))
        "OPENSSL_ia32cap=~0x1000100000000000:0",
        "GNUTLS_CPUID_OVERRIDE=0x1",
    ),
)


def narrowing(release: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> Narrowing:
    """What a guest with a kernel of this release needs on this machine's processor."""
    version = tuple(map(int, re.findall(r"\d+", release)[:2]))
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    has_tiles = flags is not None and "amx_tile" in flags[1].split()
    return TO_SSE if has_tiles and version < _KEEPS_ALL else Narrowing()
