"""Files that a guest may have put anything in place of: read and written without following,
without waiting, and only so much.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from lvslab.errors import GuestError
from lvslab.kernels import guestfiles

SECRET = "the machine's own"


@contextmanager
def nothing(path: Path) -> Iterator[None]:
    yield


@contextmanager
def fifo(path: Path) -> Iterator[None]:
    os.mkfifo(path)
    yield


@contextmanager
def full_fifo(path: Path) -> Iterator[None]:
    """One whose writer has written."""
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)
    os.write(descriptor, b"said\n")
    yield
    os.close(descriptor)


@contextmanager
def link(path: Path) -> Iterator[None]:
    path.with_name("secret").write_text(SECRET)
    path.symlink_to("secret")
    yield


@contextmanager
def directory(path: Path) -> Iterator[None]:
    path.mkdir()
    yield


@contextmanager
def listener(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))
        end.listen()
        yield


@contextmanager
def hole(path: Path) -> Iterator[None]:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    yield


Put = Callable[[Path], AbstractContextManager[None]]


@pytest.mark.parametrize("put", [nothing, fifo, full_fifo, link, directory, listener, hole])
def test_what_is_no_file_of_that_size_is_an_error_with_its_name(tmp_path: Path, put: Put) -> None:
    path = tmp_path / "7.out"
    with put(path), pytest.raises(GuestError, match=r"/7\.out: "):
        guestfiles.read(path)


@pytest.mark.parametrize("put", [nothing, fifo, full_fifo, link, directory, listener])
def test_the_end_is_of_a_file_only(tmp_path: Path, put: Put) -> None:
    path = tmp_path / "console"
    with put(path), pytest.raises(GuestError, match="/console: "):
        guestfiles.read_end(path, 100)


def test_a_device_is_not_read() -> None:
    with pytest.raises(GuestError, match="no regular file"):
        guestfiles.read(Path("/dev/zero"))


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "7.out"
    path.write_bytes(b"a\r\nb")
    assert guestfiles.read(path) == path.read_text() == "a\nb"
    path.write_bytes(b"12345678\xff")
    assert guestfiles.read(path, 9) == "12345678\N{REPLACEMENT CHARACTER}"
    assert guestfiles.read_end(path, 3) == "78\N{REPLACEMENT CHARACTER}"
    assert guestfiles.read_end(path, 100) == guestfiles.read(path)
    with pytest.raises(GuestError, match="larger than the 8 bytes"):
        guestfiles.read(path, 8)


@pytest.mark.parametrize("put", [nothing, fifo, full_fifo, link, listener])
def test_a_file_takes_the_place_of_what_lies_there(tmp_path: Path, put: Put) -> None:
    path = tmp_path / "nginx.conf"
    with put(path):
        guestfiles.write(path, "new\n", 0o755)
    assert path.read_text() == "new\n" and not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    secret = tmp_path / "secret"
    assert not secret.exists() or secret.read_text() == SECRET


def test_a_directory_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="cannot be written"):
        guestfiles.write(tmp_path, "new\n")


def test_a_folder_is_one(tmp_path: Path) -> None:
    guestfiles.make_folder(tmp_path / "jobs")
    guestfiles.make_folder(tmp_path / "jobs")
    os.mkfifo(tmp_path / "other")
    with pytest.raises(GuestError, match="other: cannot be made a folder"):
        guestfiles.make_folder(tmp_path / "other")


def test_rubbish_is_removed_whatever_it_is(tmp_path: Path) -> None:
    for name, put in (("a", nothing), ("b", fifo), ("c", link), ("d", directory)):
        with put(tmp_path / name):
            guestfiles.remove(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "secret"]


def test_a_tree_is_copied(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "program").write_bytes(b"\x7fELF")
    (tmp_path / "from" / "program").chmod(0o755)
    shutil.copytree(tmp_path / "from", tmp_path / "to", copy_function=guestfiles.copy)
    new = tmp_path / "to" / "program"
    assert new.read_bytes() == b"\x7fELF" and os.access(new, os.X_OK)
