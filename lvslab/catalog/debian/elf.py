"""A program made to run with a C library other than the machine's own.

Starting it as `ld.so --library-path DIR program` does not work for User-Mode Linux: the kernel
finds the end of its own data by the program break, which then lies behind the loader, and a newer
one executes /proc/self/exe again, which then is the loader. So the file itself names the loader, as
patchelf would write it; offsets are those of elf(5), 64 bits, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from lvslab.errors import CannotError

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 0, 1, 5, 15, 29
_BESIDE = b"$ORIGIN"


class Elf:
    """The parts of a dynamically linked program that name what it needs."""

    def __init__(self, path: Path) -> None:
        """Read it.

        Raises:
            CannotError: it is not a dynamically linked 64-bit little-endian program.
        """
        self._path, self._data = path, bytearray(path.read_bytes())
        try:
            if self._data[:6] != b"\x7fELF\x02\x01":
                raise ValueError
            (self._table,) = struct.unpack_from("<Q", self._data, 32)
            self._size, self._count = struct.unpack_from("<HH", self._data, 54)
            self._interpreter = next(offset for kind, offset in self._segments() if kind == _PT_INTERP)
            self._dynamic = dict[int, list[int]]()
            for tag, value in self._tags():
                self._dynamic.setdefault(tag, []).append(value)
            self._strings = self._in_file(self._dynamic[_DT_STRTAB][0])
        except (ValueError, KeyError, StopIteration, struct.error):
            raise CannotError(
                f"{path}: not a dynamically linked 64-bit program of this machine's kind"
            ) from None

    @property
    def loader(self) -> str:
        """The loader that it asks for."""
        (offset,) = struct.unpack_from("<Q", self._data, self._interpreter + 8)
        return self._string(offset)

    @property
    def needed(self) -> list[str]:
        """Names of the libraries that it asks for."""
        return [self._string(self._strings + value) for value in self._dynamic.get(_DT_NEEDED, [])]

    def redirect(self, loader: Path) -> None:
        """Write the file anew: it asks for another loader, and looks for libraries beside itself
        first.

        Raises:
            CannotError: it has no library path that could be replaced.
        """
        paths = self._dynamic.get(_DT_RUNPATH) or self._dynamic.get(_DT_RPATH)
        if not paths:
            raise CannotError(f"{self._path}: has no library path that could be replaced")
        start = self._strings + paths[0]
        room = len(self._string(start).encode())
        if room < len(_BESIDE):
            raise CannotError(f"{self._path}: no room for another library path")
        self._data[start : start + room] = _BESIDE.ljust(room, b"\0")
        # The kernel takes the name from the file, not from memory (fs/binfmt_elf.c), so it may
        # stand at the file's end.
        name = str(loader).encode() + b"\0"
        struct.pack_into("<Q", self._data, self._interpreter + 8, len(self._data))
        struct.pack_into("<Q", self._data, self._interpreter + 32, len(name))
        self._path.write_bytes(self._data + name)

    def _segments(self) -> Iterator[tuple[int, int]]:
        """(type, offset of its header)."""
        for number in range(self._count):
            offset = self._table + number * self._size
            yield struct.unpack_from("<I", self._data, offset)[0], offset

    def _tags(self) -> Iterator[tuple[int, int]]:
        header = next(offset for kind, offset in self._segments() if kind == _PT_DYNAMIC)
        (at,) = struct.unpack_from("<Q", self._data, header + 8)
        while True:
            tag, value = struct.unpack_from("<qQ", self._data, at)
            if tag == _DT_NULL:
                return
            yield tag, value
            at += 16

    def _in_file(self, address: int) -> int:
        for kind, header in self._segments():
            offset, start, _, size = struct.unpack_from("<QQQQ", self._data, header + 8)
            if kind == _PT_LOAD and start <= address < start + size:
                return int(address - start + offset)
        raise ValueError

    def _string(self, offset: int) -> str:
        return self._data[offset : self._data.index(b"\0", offset)].decode()
