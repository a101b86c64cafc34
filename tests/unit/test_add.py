"""Adding a kernel of the user's without booting it: what is recognised, what is refused, and that
nothing half is left.
"""

from __future__ import annotations

import lzma
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import add, catalog, stock, store
from lvslab.errors import CannotError, GuestError, UsageError
from lvslab.kernels import bzimage, kinds
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.uml import UmlKernel
from lvslab.kernels.virtual_time import VirtualTimeKernel
from tests.unit.catalogs import nothing_left

INSTALLED = shutil.which("linux.uml")


# -- stock kernels ---------------------------------------------------------------------------------


def stock_image(release: str) -> bytes:
    """The first bytes of a bzImage (Documentation/arch/x86/boot.rst)."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x100)
    text = f"{release} (debian) #1\0".encode()
    head[0x300 : 0x300 + len(text)] = text
    return bytes(head)


def test_modules_of_hardware_are_left_out_and_what_is_needed_stays() -> None:
    dependencies = {
        "kernel/net/netfilter/ipvs/ip_vs.ko": [
            "kernel/net/netfilter/nf_conntrack.ko",
            "kernel/lib/libcrc32c.ko",
        ],
        "kernel/net/netfilter/nf_conntrack.ko": [],
        "kernel/lib/libcrc32c.ko": [],
        "kernel/drivers/net/veth.ko.xz": [],
        "kernel/drivers/net/ethernet/intel/ice/ice.ko": [],
        "kernel/drivers/net/ethernet/intel/e1000/e1000.ko": ["kernel/drivers/pps/pps_core.ko"],
        "kernel/drivers/pps/pps_core.ko": [],
        "kernel/drivers/gpu/drm/i915/i915.ko": [],
        "kernel/net/mac80211/mac80211.ko": [],
        "kernel/fs/9p/9p.ko": [],
        "kernel/fs/xfs/xfs.ko": [],
    }
    left_out = dependencies.keys() - stock.closure(dependencies, stock.wanted)
    assert {path.rsplit("/", 1)[1] for path in left_out} == {"ice.ko", "i915.ko", "mac80211.ko", "xfs.ko"}


def test_the_release_of_an_image(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(stock_image("6.1.0-50-amd64"))
    assert bzimage.release_of(image) == "6.1.0-50-amd64"
    image.write_bytes(b"hello")
    assert bzimage.release_of(image) is None


# -- adding ----------------------------------------------------------------------------------------


def elf(machine: int = 62, kind: int = 2) -> bytes:
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", kind, machine) + bytes(100)


def arm_image() -> bytes:
    return bytes(0x38) + b"ARM\x64" + bytes(0x400)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"just text\n", "no kernel; give a User-Mode Linux program"),
        (b"", "no kernel"),
        (arm_image(), "a kernel for ARM; lvslab boots x86-64 only"),
        (elf(machine=183), "a program for ARM; lvslab boots x86-64 only"),
        (elf(kind=1), "an object file"),
        (elf(), "a program, but not User-Mode Linux; .*bzImage, not vmlinux"),
        (lzma.compress(bytes(5000)), "no kernel"),
    ],
)
def test_what_is_no_kernel_is_refused(tmp_path: Path, data: bytes, cause: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(UsageError, match=rf"^{tmp_path}/file: {cause}"):
        add.prepare(tmp_path / "file")


def _modules(where: Path, release: str) -> Path:
    (where / release / "kernel").mkdir(parents=True)
    (where / release / "modules.builtin").touch()
    return where / release


def _uml(path: Path) -> Path:
    path.write_bytes(elf() + b"User Mode Linux v%s\0")
    return path


def test_a_kernel_and_its_modules_are_found(tmp_path: Path) -> None:
    program = _uml(tmp_path / "linux")
    with pytest.raises(
        UsageError, match="no kernel modules modules/RELEASE; give their directory: --modules DIR"
    ):
        add.prepare(tmp_path)
    _modules(tmp_path / "modules", "6.1.5")
    assert add.prepare(tmp_path).program == program
    found = add.prepare(program)
    assert (found.kind, found.modules, str(found.name), found.config) == (
        UmlKernel,
        tmp_path / "modules" / "6.1.5",
        "local/6.1.5",
        None,
    )
    (tmp_path / "config").touch()
    assert add.prepare(program, "mine").config == tmp_path / "config"
    _modules(tmp_path / "modules", "6.1.6")
    with pytest.raises(
        UsageError, match=r"several trees of modules: 6\.1\.5, 6\.1\.6; give one: --modules DIR"
    ):
        add.prepare(program)
    assert add.prepare(program, modules=tmp_path / "modules" / "6.1.6").modules.name == "6.1.6"
    with pytest.raises(UsageError, match="no directory"):
        add.prepare(program, modules=tmp_path / "nowhere")


def test_a_kernel_for_virtual_time_is_known_by_its_name_and_needs_what_was_built_with_it(
    tmp_path: Path, trial: dict[str, Any]
) -> None:
    program = _uml(tmp_path / "linux.vt")
    _modules(tmp_path / "modules", "6.1.192")
    with pytest.raises(UsageError, match=rf"^{program}: .* needs seed\.so beside it"):
        add.prepare(tmp_path)
    program.with_name("seed.so").write_bytes(b"a library")
    addition = add.prepare(tmp_path, "mine")
    assert addition.kind is VirtualTimeKernel
    trial["facts"]["kind"] = VirtualTimeKernel.kind
    entry = add.add(addition)
    assert (entry.directory / "seed.so").read_bytes() == b"a library"
    assert entry.kind == VirtualTimeKernel.kind


def test_a_directory_must_say_which_kernel(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError,
        match=r"holds no kernel; it must be called linux\.uml, linux, vmlinuz, bzImage or linux\.vt",
    ):
        add.prepare(tmp_path)
    with pytest.raises(UsageError, match="not there"):
        add.prepare(tmp_path / "nothing")
    _uml(tmp_path / "linux")
    (tmp_path / "bzImage").write_bytes(stock_image("6.1.5"))
    with pytest.raises(UsageError, match="several kernels: linux, bzImage"):
        add.prepare(tmp_path)


def test_an_image_must_fit_its_modules(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(stock_image("6.1.5"))
    _modules(tmp_path / "modules", "6.1.6")
    with pytest.raises(UsageError, match=r"says that it is 6\.1\.5, but its modules are for 6\.1\.6"):
        add.prepare(image)
    _modules(tmp_path / "modules", "6.1.5")
    assert add.prepare(image).modules.name == "6.1.5", "of several trees the one that fits is meant"


@pytest.mark.skipif(not INSTALLED, reason="user-mode-linux is not installed")
def test_the_installed_kernel_is_recognised_and_other_programs_are_not() -> None:
    assert INSTALLED
    assert kinds.recognise(Path(INSTALLED)) is UmlKernel
    with pytest.raises(UsageError, match="not User-Mode Linux"):
        kinds.recognise(Path(sys.executable).resolve())


def test_an_added_kernel_is_copied_and_can_be_removed(tmp_path: Path, trial: dict[str, Any]) -> None:
    _uml(tmp_path / "linux")
    modules = _modules(tmp_path / "modules", "6.1.192")
    (modules / "build").symlink_to("/")
    entry = add.add(add.prepare(tmp_path, "mine"))
    assert catalog.find("local/mine").modules.release == "6.1.192"
    assert os.access(entry.directory / "linux.uml", os.X_OK)
    assert not (entry.directory / "modules" / "6.1.192" / "build").exists()
    assert (modules / "build").is_symlink()
    store.remove(entry, cache_directory(), lambda event: None)
    assert catalog.entries() == [] and not entry.directory.exists()
    assert not list(cache_directory().glob("work-*"))
    with pytest.raises(
        CannotError, match=r"'local/mine': not here; run: lvslab kernels build TREE --name mine"
    ):
        catalog.find("local/mine")


def test_an_added_kernel_that_lies_about_its_release_is_refused(
    tmp_path: Path, trial: dict[str, Any]
) -> None:
    _uml(tmp_path / "linux")
    _modules(tmp_path / "modules", "6.1.193")
    with pytest.raises(GuestError, match=r"says that it is 6\.1\.192, but its modules are for 6\.1\.193"):
        add.add(add.prepare(tmp_path))
    assert catalog.entries() == [] and nothing_left("refused.console")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
    ],
)
def test_a_disk_that_becomes_full_is_told(
    tmp_path: Path, trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    _uml(tmp_path / "linux")
    _modules(tmp_path / "modules", "6.1.192")
    addition = add.prepare(tmp_path)
    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(CannotError, match="the disk is full; free some space, or set XDG_CACHE_HOME"):
        add.add(addition)
    assert catalog.entries() == [] and nothing_left()
