"""User-Mode Linux kernels: where one is, and what it is told."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import CannotError
from lvslab.kernels import uml, umlfile
from lvslab.kernels.initramfs import ModuleTree
from lvslab.kernels.machine import Lines
from lvslab.kernels.uml import UmlKernel


def test_a_directory_is_a_kernel_only_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "linux.uml").touch()
    with pytest.raises(CannotError, match="not a whole kernel"):
        UmlKernel.at(tmp_path)
    for release in ("6.1", "6.2"):
        (tmp_path / "modules" / release).mkdir(parents=True)
    (tmp_path / "modules" / "6.1" / "modules.dep").touch()
    assert UmlKernel.at(tmp_path).modules.release == "6.1"
    (tmp_path / "modules" / "6.2" / "modules.dep").touch()
    with pytest.raises(CannotError, match="one tree"):
        UmlKernel.at(tmp_path)


def test_extra_arguments_are_passed_and_make_another_kernel_for_kept_results(tmp_path: Path) -> None:
    (tmp_path / "linux.uml").touch()
    (tmp_path / "modules" / "6.1").mkdir(parents=True)
    (tmp_path / "modules" / "6.1" / "modules.dep").touch()
    plain, fast = UmlKernel.at(tmp_path), UmlKernel.at(tmp_path, ("seccomp=on",))
    assert plain == UmlKernel(tmp_path / "linux.uml", ModuleTree(tmp_path / "modules" / "6.1"))
    assert plain.identity != fast.identity
    common: dict[str, Any] = {
        "memory_mib": 1,
        "directory": tmp_path,
        "image": tmp_path,
        "modules": [],
        "lines": Lines(agent=3, terminal=4, streams=()),
    }
    words, more = uml.arguments(plain, "a", **common), uml.arguments(fast, "a", **common)
    assert [word for word in more if word not in words] == ["seccomp=on"]


def _program(loader: str) -> bytes:
    """The head of an ELF file whose only program header names its loader (elf(5))."""
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    text = loader.encode() + b"\0"
    return header + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(text), len(text), 1) + text


def test_a_kernel_with_a_c_library_of_its_own_needs_it_seen(tmp_path: Path) -> None:
    program = tmp_path / "linux.uml"
    program.write_bytes(_program("/opt/loaders/2.41/ld-linux-x86-64.so.2"))
    (tmp_path / "libc.so.6").touch()
    assert umlfile.libraries(program) == (Path("/opt/loaders/2.41"), tmp_path / "libc.so.6")
    program.write_bytes(_program("/lib64/ld-linux-x86-64.so.2"))
    assert umlfile.libraries(program) == ()
