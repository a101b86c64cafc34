"""A kernel that keeps fewer registers than the processor has is given a library between both."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lvslab.errors import CannotError
from lvslab.kernels import registers

TRACER = """
import ctypes, os, signal, sys

class Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
ptrace.restype = ctypes.c_long
GET, SET, XSTATE = 0x4204, 0x4205, 0x202

def do(request, octets, length):
    part = Part(ctypes.addressof(octets), length)
    return ptrace(request, child, XSTATE, ctypes.addressof(part)), part.length

child = os.fork()
if not child:
    ptrace(0, 0, None, None)
    os.kill(os.getpid(), signal.SIGSTOP)
os.waitpid(child, 0)
try:
    octets = ctypes.create_string_buffer(65536)
    less = 576 + 64  # x87, SSE, the list of what is in use, and a part of AVX
    got = do(GET, octets, less)
    octets[160] = 0x5A  # of the first register of SSE
    octets[512] = octets[512][0] | 2
    put = do(SET, octets, less)
    again = ctypes.create_string_buffer(65536)
    whole = do(GET, again, len(again))
    print(got[0], got[1] == less, put[0], again[160].hex(), whole[1] > less)
finally:
    os.kill(child, signal.SIGKILL)
"""


def _cpuinfo(path: Path, flags: str) -> Path:
    path.write_text(f"processor\t: 0\nmodel name\t: a processor\nflags\t\t: {flags}\nbugs\t\t: none\n")
    return path


@pytest.mark.parametrize(
    ("release", "flags", "too_many"),
    [
        ("6.1.176", "fpu sse avx2 avx512f amx_bf16 amx_tile amx_int8 flush_l1d", True),
        ("6.12.113", "fpu amx_tile", True),
        ("6.1.0-50-amd64", "amx_tile", True),
        ("6.13.0", "fpu amx_tile", False),
        ("7.2.13-rc1", "fpu amx_tile", False),
        ("6.1.176", "fpu sse avx2 avx512f pku", False),
        ("6.1.176", "not_amx_tile_but_alike", False),
    ],
)
def test_only_a_kernel_before_6_13_on_a_processor_with_amx_needs_it(
    tmp_path: Path, release: str, flags: str, too_many: bool
) -> None:
    assert registers.are_too_many(release, _cpuinfo(tmp_path / "cpuinfo", flags)) is too_many


@pytest.mark.parametrize("compiler", registers.COMPILERS, ids=lambda words: words[0])
def test_a_part_of_the_registers_is_taken_back_with_the_library_and_without_it_refused(
    compiler: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which(compiler[0]):
        pytest.skip(f"{compiler[0]} is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(registers, "COMPILERS", (compiler,))
    monkeypatch.setattr(registers, "are_too_many", lambda release: True)
    libraries = registers.library("6.1.176")
    assert registers.library("6.1.176") == libraries, "it is made once"
    trace = [sys.executable, "-c", TRACER]

    def said(command: list[str]) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    assert said([*registers.preloading(libraries), *trace]) == "0 True 0 5a True"
    got, part, put, octet, more = said(trace).split()
    assert (got, part, put, more) == ("0", "True", "-1", "True") and octet != "5a", (
        "the machine's kernel takes the whole or nothing"
    )


def test_without_a_compiler_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(registers, "are_too_many", lambda release: True)
    monkeypatch.setattr(shutil, "which", lambda name, **where: None)
    with pytest.raises(CannotError, match=r"AMX: needs a compiler once, tcc or gcc; .*tcc"):
        registers.library("6.1.176")
    assert registers.preloading(()) == []
