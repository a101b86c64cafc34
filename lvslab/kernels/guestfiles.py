"""Files in folders where a guest writes, too.

Root in a guest chooses what lies there: in place of a file a FIFO, on which an open(2) waits for
ever, a symbolic link, a device, a directory, or a hole of a gigabyte. So the machine's side reads
and writes such files here and nowhere else: it follows no link, waits for nobody, and takes only so
much.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lvslab.errors import GuestError

MOST_BYTES = 64 << 20
"""Of a file that is read: the output of a job, a process number, a table."""

_WARY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def read(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file.

    Args:
        most: bytes that it may have.

    Raises:
        GuestError: it is not there, is no regular file, or larger.
    """
    with _regular(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise GuestError(f"{path}: larger than the {most} bytes that are read of a guest's file")
    return _text(data)


def read_end(path: Path, most: int) -> str:
    """The text of a file or, of a larger one, its last `most` bytes.

    Raises:
        GuestError: it is not there, or no regular file.
    """
    with _regular(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - most))
        return _text(stream.read(most))


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Make a file of a text, in place of what lies there.

    Raises:
        GuestError: as `create`.
    """
    with create(path, mode) as stream:
        stream.write(text.encode())


def copy(source: str, target: str) -> None:
    """Make a file of another one's content, in place of what lies there; for `shutil.copytree`.

    Raises:
        GuestError: as `create`.
    """
    file = Path(source)
    with create(Path(target), file.stat().st_mode & 0o777) as new:
        new.write(file.read_bytes())


@contextmanager
def create(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A new file to be written, in place of what lies there.

    Raises:
        GuestError: there is a directory, somebody in the guest is faster, or the folder is full.
    """
    with _explained(path, "written"):
        with suppress(FileNotFoundError):
            path.unlink()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _WARY, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            yield stream


def make_folder(path: Path) -> None:
    """Make a folder where there is none.

    Raises:
        GuestError: something else lies there, or the folder above is full.
    """
    with _explained(path, "made a folder"):
        path.mkdir(exist_ok=True)


def remove(path: Path) -> None:
    """Remove a file; a directory that has taken its place stays.

    It is rubbish of one job: nobody reads it again, and it goes with the guest at the latest.
    """
    with suppress(OSError):
        path.unlink()


@contextmanager
def _regular(path: Path) -> Iterator[IO[bytes]]:
    """A file to be read, if it is one."""
    with _explained(path, "read"):
        descriptor = os.open(path, os.O_RDONLY | _WARY)
        try:
            kind = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(kind):
                raise GuestError(f"{path}: no regular file ({stat.filemode(kind)}); the guest put it there")
            with os.fdopen(descriptor, "rb", closefd=False) as stream:
                yield stream
        finally:
            os.close(descriptor)


def _text(data: bytes) -> str:
    """With the line ends of text, as a file opened for reading gives it."""
    return io.TextIOWrapper(io.BytesIO(data), "utf-8", "replace").read()


@contextmanager
def _explained(path: Path, deed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GuestError(
            f"{path}: cannot be {deed}: {error.strerror}; the guest writes there, too"
        ) from error
