"""Kernels under QEMU, as far as no kernel boots: which files are a kernel, what is inside a
bzImage, what QEMU is told.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import CannotError
from lvslab.kernels import alone, bzimage, kvm, qemu, qemu_alone, taps
from lvslab.kernels.initramfs import ModuleTree
from lvslab.kernels.machine import Lines
from lvslab.kernels.qemu import QemuKernel
from tests.unit.kernel_images import bz_image


def elf(*notes: tuple[bytes, int]) -> bytes:
    """A 64-bit ELF file with one program header, of notes: (owner, type) each."""
    body = b"".join(
        struct.pack("<III", len(owner), 4, kind) + owner.ljust(-(-len(owner) // 4) * 4, b"\0") + bytes(4)
        for owner, kind in notes
    )
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return header + struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(body), len(body), 4) + body


KERNEL = elf((b"GNU\0", 3), (b"Xen\0", 18))
OTHER = elf((b"GNU\0", 18), (b"Xen\0", 6))


def by(*command: str) -> Callable[[bytes], bytes]:
    return lambda data: subprocess.run(command, input=data, capture_output=True, check=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, format=lzma.FORMAT_XZ),
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": by("zstd", "-c", "-q"),
    "lz4": by("lz4", "-l", "-c", "-q"),
}


# -- what is inside a bzImage ----------------------------------------------------------------------


@pytest.mark.parametrize("name", PACKERS)
def test_the_kernel_comes_out_of_a_bzimage_as_it_went_in(name: str) -> None:
    if name in ("zstd", "lz4") and not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    image = bz_image(PACKERS[name](KERNEL))
    assert bzimage.unpacked(bzimage.payload(image)) == KERNEL


def test_a_kernel_that_nothing_here_unpacks_is_left_to_itself() -> None:
    assert bzimage.unpacked(b"\x89LZO" + KERNEL) is None
    assert bzimage.unpacked(gzip.compress(KERNEL)[:40]) != KERNEL
    assert bzimage.unpacked(b"\xfd7zXZ\x00 damaged") is None


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (b"", "not a Linux bzImage"),
        (b"\x7fELF" + bytes(4096), "not a Linux bzImage"),
        (bz_image(b"", protocol=0x0207), "older than 2.08"),
    ],
)
def test_what_is_no_bzimage_is_refused(image: bytes, problem: str) -> None:
    with pytest.raises(CannotError, match=problem):
        bzimage.payload(image)


def test_a_kernel_is_entered_directly_only_where_it_has_the_note_for_it() -> None:
    assert bzimage.has_pvh_entry(KERNEL)
    # the number alone, or the owner alone, is something else
    assert not bzimage.has_pvh_entry(OTHER)
    assert not bzimage.has_pvh_entry(b"MZ" + KERNEL)


# -- what is booted --------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a kernel, and a private cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tree = tmp_path / "kernel" / "modules" / "6.1.0-1-amd64"
    tree.mkdir(parents=True)
    (tree / "modules.dep").write_text("")
    (tmp_path / "kernel" / "vmlinuz").write_bytes(bz_image(gzip.compress(KERNEL)))
    return tmp_path / "kernel"


def test_a_kernel_is_unpacked_once_and_kept_until_it_changes(home: Path) -> None:
    kernel = QemuKernel.at(home)
    first = bzimage.bootable(kernel.image, kernel.identity)
    assert first.read_bytes() == KERNEL and first != kernel.image
    os.utime(first, (1, 1))
    assert bzimage.bootable(kernel.image, kernel.identity) == first and first.stat().st_mtime == 1, (
        "unpacked again"
    )
    changed = elf((b"Xen\0", 18), (b"GNU\0", 1))
    kernel.image.write_bytes(bz_image(lzma.compress(changed)))
    second = bzimage.bootable(kernel.image, kernel.identity)
    assert second.read_bytes() == changed
    assert list(second.parent.iterdir()) == [second], "the old one, or half a one, was left"


def test_a_kernel_without_direct_entry_boots_from_its_image(home: Path) -> None:
    kernel = QemuKernel.at(home)
    kernel.image.write_bytes(bz_image(gzip.compress(OTHER)))
    assert bzimage.bootable(kernel.image, kernel.identity) == kernel.image


def test_where_nothing_can_be_kept_the_image_boots(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    kernel = QemuKernel.at(home)
    assert bzimage.bootable(kernel.image, kernel.identity) == kernel.image


def test_an_image_that_is_none_is_named(home: Path) -> None:
    kernel = QemuKernel.at(home)
    kernel.image.write_bytes(b"#!/bin/sh\n")
    with pytest.raises(CannotError, match=r"kernel/vmlinuz: not a Linux bzImage"):
        bzimage.bootable(kernel.image, kernel.identity)


# -- which kernel ----------------------------------------------------------------------------------


def test_a_kernel_in_a_directory_is_whole_or_refused(home: Path) -> None:
    kernel = QemuKernel.at(home)
    assert (kernel.kind, kernel.modules.release) == ("qemu", "6.1.0-1-amd64")
    (home / "modules" / "6.1.0-2-amd64").mkdir()
    (home / "modules" / "6.1.0-2-amd64" / "modules.dep").touch()
    with pytest.raises(CannotError, match="one tree modules/RELEASE"):
        QemuKernel.at(home)
    (home / "vmlinuz").unlink()
    with pytest.raises(CannotError, match="needs the image vmlinuz"):
        QemuKernel.at(home)


def test_the_newest_installed_kernel_with_modules_is_taken(tmp_path: Path) -> None:
    boot, modules = tmp_path / "boot", tmp_path / "modules"
    boot.mkdir()
    for release, has_modules in (("6.1.0-9-amd64", True), ("6.1.0-56-amd64", True), ("6.12.1-amd64", False)):
        (boot / f"vmlinuz-{release}").touch()
        if has_modules:
            (modules / release).mkdir(parents=True)
            (modules / release / "modules.dep").touch()
    assert QemuKernel.installed(boot, modules).modules == ModuleTree(modules / "6.1.0-56-amd64")
    shutil.rmtree(modules)
    with pytest.raises(
        CannotError, match=r"no readable kernel image .*lvslab kernels fetch debian/bookworm:amd64"
    ):
        QemuKernel.installed(boot, modules)


def test_a_kernel_is_another_one_when_image_modules_or_arguments_are(home: Path) -> None:
    kernel = QemuKernel.at(home)
    seen = {kernel.identity, QemuKernel.at(home, ("mitigations=off",)).identity}
    kernel.image.write_bytes(b"another")
    seen.add(kernel.identity)
    (kernel.modules.directory / "modules.dep").write_text("another\n")
    seen.add(kernel.identity)
    assert len(seen) == 4 and QemuKernel.at(home).identity in seen


def test_the_configuration_beside_the_image_counts(home: Path) -> None:
    def digest() -> str | None:
        return kernel.config_sha256

    kernel = QemuKernel.at(home)
    assert digest() is None
    (home / "config").write_text("CONFIG_IP_VS=m\n")
    first = digest()
    (home / "config").write_text("CONFIG_IP_VS=y\n")
    assert first and digest() not in (None, first)


def test_a_stock_kernel_without_9p_is_for_the_bench_only(tmp_path: Path) -> None:
    tree = tmp_path / "modules" / "6.1"
    tree.mkdir(parents=True)
    (tmp_path / "vmlinuz").touch()
    (tree / "modules.dep").write_text("kernel/net/9p/9pnet_virtio.ko:\nkernel/fs/9p/9p.ko:\n")
    (tree / "modules.builtin").write_text(
        "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\n"
    )
    assert QemuKernel.at(tmp_path).cannot_direct() is None
    (tree / "modules.dep").write_text("kernel/net/9p/9pnet_virtio.ko:\n")
    assert (
        QemuKernel.at(tmp_path).cannot_direct()
        == "the kernel has no 9p, so it cannot see the machine's programs"
    )
    assert "console=ttyS0 panic=-1 quiet" in qemu_alone.arguments(tmp_path / "vmlinuz", tmp_path / "cpio")


# -- what QEMU is told -----------------------------------------------------------------------------


def words(home: Path, **changed: Any) -> list[str]:
    common: dict[str, Any] = {
        "accelerator": "tcg",
        "memory_mib": 256,
        "image": home / "initramfs",
        "drivers": ["virtio_pci"],
        "modules": ["overlay", "ip_vs"],
        "share": home / "share",
        "lines": Lines(agent=3, terminal=4, streams=(5, 6)),
        "tap_descriptors": [7, 8],
    }
    return qemu.arguments(QemuKernel.at(home, ("extra=1",)), home / "vmlinux", **{**common, **changed})


def test_every_line_and_card_has_the_descriptor_and_place_that_the_guest_expects(home: Path) -> None:
    given = words(home)
    assert [word for word in given if word.startswith("socket,")] == [
        "socket,id=terminal,fd=4",
        "socket,id=line9,fd=3",
        "socket,id=line1,fd=5",
        "socket,id=line2,fd=6",
    ]
    devices = [word.partition(",")[0] for word in given if word.startswith("virtio-") and "-pci" in word]
    assert devices == [
        "virtio-serial-pci",
        "virtio-9p-pci",
        "virtio-9p-pci",
        "virtio-net-pci",
        "virtio-net-pci",
    ]
    assert [word for word in given if word.startswith("tap,")] == ["tap,id=nic0,fd=7", "tap,id=nic1,fd=8"]
    kernel_words = given[given.index("-append") + 1].split()
    assert {"panic=-1", "LVSLAB_AGENT=/dev/vport0p9", "LVSLAB_MODULES=overlay,ip_vs", "extra=1"} <= set(
        kernel_words
    )


def test_the_hosts_files_are_served_read_only(home: Path) -> None:
    folders = {word.split(",")[2]: word for word in words(home) if word.startswith("local,")}
    assert "readonly=on" in folders["path=/"].split(",")
    assert "readonly=on" not in folders[f"path={home / 'share'}"].split(",")


def test_a_kernel_without_9p_is_refused_before_anything_starts(home: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CannotError, match=r"6\.1\.0-1-amd64: has no virtio_pci, .*9p.*Debian's :amd64 kernels have them"
    ):
        qemu.refuse(QemuKernel.at(home))
    (home / "modules/6.1.0-1-amd64/modules.builtin").write_text(
        "".join(f"a/{name}.ko\n" for name in qemu.DRIVERS)
    )
    qemu.refuse(QemuKernel.at(home))


# -- the machine -----------------------------------------------------------------------------------


def test_a_machine_without_taps_is_told_what_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(taps, "TUN", str(tmp_path / "tun"))
    with pytest.raises(CannotError, match=r"tun: No such file .*modprobe tun"):
        taps.open_tap("tap0")
    (tmp_path / "tun").touch()  # a file, but no tap driver
    with pytest.raises(CannotError, match="no tap 'tap0' can be made"):
        taps.open_tap("tap0")


@pytest.fixture
def fake_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A program in QEMU's place and a file in the device's, with a private cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / kvm.PROGRAM
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(kvm, "DEVICE", tmp_path / "kvm")
    monkeypatch.setattr(alone, "command_of", lambda command, files, **where: command)
    return program


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "works", "text"),
    [
        ("echo lvslab guest is up", True, "vmlinuz booted in"),
        ("echo could not access KVM >&2; exit 1", False, "does not boot under it: could not access KVM"),
        ("exec sleep 60", False, "hung under it for 0.2 s"),
    ],
)
def test_kvm_is_used_only_after_a_boot_under_it(
    fake_qemu: Path, monkeypatch: pytest.MonkeyPatch, script: str, works: bool, text: str
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(kvm, "_SECONDS", 0.2)
    write_program(fake_qemu, script)
    assert not kvm.known_to_work(), "nothing was tried yet"
    found = kvm.try_once(Path("/boot/vmlinuz"))
    assert found.works == works and text in found.text
    assert kvm.known_to_work() == works
    stamp = fake_qemu.stat()
    write_program(fake_qemu, "echo another answer")
    os.utime(fake_qemu, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert kvm.try_once(Path("/boot/vmlinuz")) == found, "a kept finding was tried again"
    os.utime(fake_qemu, (1, 1))  # another QEMU
    assert not kvm.known_to_work()


def test_without_the_device_nothing_is_tried_or_kept(fake_qemu: Path) -> None:
    write_program(fake_qemu, "echo lvslab guest is up")
    kvm.try_now(Path("/boot/vmlinuz"))
    assert kvm.known_to_work()
    kvm.DEVICE.unlink()
    assert not kvm.known_to_work() and "no " in kvm.try_now(Path("/boot/vmlinuz")).text
