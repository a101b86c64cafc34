"""User-Mode Linux kernels: where one is, and what it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import CannotError
from lvslab.kernels import uml
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
