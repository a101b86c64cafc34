"""What a bzImage says of itself, and the kernel inside.

A bzImage unpacks itself, which takes a processor that QEMU emulates some five seconds (xz). The ELF
file inside boots at once by its PVH entry, where the kernel has one (CONFIG_PVH; Debian's do). It
is unpacked once and kept.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

from lvslab.errors import CannotError, UsageError
from lvslab.kernels.cache import cache_directory, keep

_MAGIC = 0x53726448  # "HdrS"
_LEAST_PROTOCOL = 0x0208  # the first with payload_offset and payload_length
_SECTOR = 512
_PT_NOTE, _PHYS32_ENTRY = 4, 18  # XEN_ELFNOTE_PHYS32_ENTRY (include/xen/interface/elfnote.h)


def release_of(image: Path) -> str | None:
    """The release that a bzImage's header names, or None when it is no bzImage.

    The header is that of Documentation/arch/x86/boot.rst: at 0x20e stands where the version's text
    is, counted from 0x200.

    Raises:
        UsageError: the file cannot be read, or is a bzImage that names no release.
    """
    try:
        with image.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise UsageError(f"{image}: {error.strerror}") from error
    if head[0x202:0x206] != b"HdrS":
        return None
    pointer = int.from_bytes(head[0x20E:0x210], "little")
    text = head[pointer + 0x200 :].split(b"\0", 1)[0].decode(errors="replace") if pointer else ""
    release = text.split(" ", 1)[0]
    if not release:
        raise UsageError(
            f"{image}: a bzImage that names no release; give the whole file arch/x86/boot/bzImage"
        )
    return release


def payload(image: bytes) -> bytes:
    """The packed kernel in a bzImage (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel
    Header").

    Raises:
        CannotError: this is no bzImage of Linux 2.6.26 or later.
    """
    if len(image) < 0x250 or struct.unpack_from("<I", image, 0x202)[0] != _MAGIC:
        raise CannotError("not a Linux bzImage: it has no setup header")
    if struct.unpack_from("<H", image, 0x206)[0] < _LEAST_PROTOCOL:
        raise CannotError("a bzImage of before Linux 2.6.26: its boot protocol is older than 2.08")
    start, length = struct.unpack_from("<II", image, 0x248)
    begin = ((image[0x1F1] or 4) + 1) * _SECTOR + start
    return image[begin : begin + length]


def unpacked(packed: bytes) -> bytes | None:
    """The kernel that a payload packs, or None where nothing here unpacks it (the kernel then does
    so itself).

    The payload is followed by four bytes with the kernel's size (scripts/Makefile.lib), so what
    comes behind the packed stream is no error.
    """
    for magic, unpack in _FORMATS.items():
        if packed.startswith(magic):
            try:
                return unpack(packed)
            except (zlib.error, lzma.LZMAError, OSError, EOFError):
                return None
    return None


def _by_program(*command: str) -> Callable[[bytes], bytes]:
    def unpack(packed: bytes) -> bytes:
        if not shutil.which(command[0]):
            raise OSError(f"{command[0]}: not installed")
        # The status tells of the four bytes behind the stream; what came out is judged by its first
        # bytes.
        return subprocess.run(command, input=packed, capture_output=True, check=False).stdout

    return unpack


_FORMATS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda packed: zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed),
    b"\xfd7zXZ": lambda packed: lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(packed),
    b"\x5d\x00\x00": lambda packed: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress(packed),
    b"BZh": lambda packed: bz2.BZ2Decompressor().decompress(packed),
    b"\x28\xb5\x2f\xfd": _by_program("zstd", "-d", "-c", "-q"),
    b"\x02\x21\x4c\x18": _by_program("lz4", "-d", "-c", "-q"),
}
"""First bytes → unpacking, of what CONFIG_KERNEL_* can choose (scripts/extract-vmlinux has the same
list).
"""


def has_pvh_entry(kernel: bytes) -> bool:
    """Whether an ELF kernel has the note by which it is entered without a boot loader
    (docs/misc/pvh in Xen's tree; elf(5)).
    """
    if not kernel.startswith(b"\x7fELF\x02\x01"):
        return False
    (table,) = struct.unpack_from("<Q", kernel, 0x20)
    size, count = struct.unpack_from("<HH", kernel, 0x36)
    for number in range(count):
        kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", kernel, table + number * size)
        if kind == _PT_NOTE and _PHYS32_ENTRY in _xen_notes(kernel[offset : offset + length]):
            return True
    return False


def _xen_notes(notes: bytes) -> set[int]:
    found, at = set[int](), 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        if notes[at + 12 : at + 12 + name_size] == b"Xen\0":
            found.add(kind)
        at += 12 + -(-name_size // 4) * 4 + -(-size // 4) * 4
    return found


def bootable(image: Path, identity: str) -> Path:
    """The file to boot: the kernel inside the image, kept in the cache, or the image itself where
    that cannot be.

    Args:
        identity: of the kernel; changes whenever the image does.

    Raises:
        CannotError: the image is not readable or no bzImage.
    """
    names = hashlib.sha256(str(image).encode()).hexdigest()[:16]
    kept = cache_directory() / "unpacked" / f"{names}-{identity}.elf"
    if kept.exists():
        return kept
    try:
        kernel = unpacked(payload(image.read_bytes()))
    except OSError as error:
        raise CannotError(f"{image}: {error.strerror}") from error
    except CannotError as error:
        raise CannotError(f"{image}: {error}") from error
    if kernel is None or not has_pvh_entry(kernel) or not keep(kept, lambda path: path.write_bytes(kernel)):
        return image
    for old in kept.parent.glob(f"{names}-*.elf"):  # what the image was before
        if old != kept:
            old.unlink(missing_ok=True)
    return kept
