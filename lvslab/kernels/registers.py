"""Processors with more registers than a User-Mode Linux kernel keeps.

Up to 6.12, such a kernel keeps 2,696 bytes of a program's registers (arch/x86/um/user-offsets.c:
HOST_FP_SIZE), which AVX-512 and protection keys just fill. With AMX they take 11,008, and the
machine's kernel takes back nothing less than the whole (arch/x86/kernel/fpu/regset.c:
xstateregs_set). Process 1 dies: "ptrace set fp regs failed, errno = 14". From 6.13 on, the kernel
asks for the size. An older one is given a library that stands between both.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from lvslab.errors import CannotError
from lvslab.host.distribution import advice
from lvslab.kernels.cache import cache_directory

_KEEPS_ALL = (6, 13)
COMPILERS = (("tcc", "-nostdlib"), ("gcc", "-O2", "-fPIC", "-fno-builtin", "-x", "c"))
_COMPILE_SECONDS = 60.0


def are_too_many(release: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor has more registers than a kernel of this release keeps."""
    version = tuple(map(int, re.findall(r"\d+", release)[:2]))
    flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), re.MULTILINE)
    return version < _KEEPS_ALL and flags is not None and "amx_tile" in flags[1].split()


def library(release: str) -> tuple[Path, ...]:
    """What is to be loaded before a kernel of this release on this machine: a library, compiled
    once, or none.

    Raises:
        CannotError: no compiler is here.
    """
    return (_compiled(),) if are_too_many(release) else ()


def preloading(libraries: Sequence[Path]) -> list[str]:
    """Words before a command that has these loaded first."""
    return ["env", f"LD_PRELOAD={':'.join(map(str, libraries))}"] if libraries else []


def _compiled() -> Path:
    source = files("lvslab.kernels") / "preload" / "registers.c"
    text = source.read_bytes()
    target = cache_directory() / f"registers-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if target.is_file():
        return target
    compiler = next((each for each in COMPILERS if shutil.which(each[0])), None)
    if compiler is None:
        raise CannotError(
            f"User-Mode Linux on a processor with AMX: needs a compiler once, tcc or gcc; {advice('tcc')}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".registers-") as folder:
        made = Path(folder, target.name)
        command = [*compiler, "-shared", "-o", str(made), "-"]
        done = subprocess.run(command, input=text, capture_output=True, timeout=_COMPILE_SECONDS, check=False)
        if done.returncode != 0:
            raise CannotError(f"{source}: not compiled: {done.stderr.decode(errors='replace').strip()[:300]}")
        made.chmod(0o755)  # a guest's process is another user
        made.replace(target)
    return target
