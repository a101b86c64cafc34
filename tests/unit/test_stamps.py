"""Lines bear the time of their arrival, however long it takes to deal with the ones before."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import IO

import pytest

from lvslab.lab.stamps import Stamped, take_lines


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return os.fdopen(read, "rb"), os.fdopen(write, "wb", buffering=0)


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "this did not come true in time"
        time.sleep(0.001)


def _is_over(thread: str) -> bool:
    return all(each.name != thread for each in threading.enumerate())


def test_a_line_is_stamped_while_the_one_before_is_dealt_with() -> None:
    stream, program = _pipe()
    busy, go_on = threading.Event(), threading.Event()
    seen: list[tuple[float, bytes]] = []

    def take(lines: Stamped) -> None:
        for stamped in lines:
            busy.set()
            assert go_on.wait(20)
            seen.append(stamped)

    taker = take_lines("lines", stream, 100, take)
    program.write(b"one\n")
    assert busy.wait(20)
    program.write(b"two\n")
    program.close()
    _await(lambda: _is_over("lines-stamps"))
    released = time.time()
    go_on.set()
    taker.join(20)
    assert [line for _, line in seen] == [b"one\n", b"two\n"]
    assert seen[0][0] <= seen[1][0] <= released and stream.closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("fails", [False, True])
def test_lines_that_nobody_takes_hold_no_program_up(fails: bool) -> None:
    stream, program = _pipe()

    def take(lines: Stamped) -> None:
        assert next(lines)[1] == b"one\n"
        if fails:
            raise OSError("no space left on the device")

    taker = take_lines("lines", stream, 100, take)
    program.write(b"one\n" + b"more\n" * 50_000)  # more than a pipe and the lines that wait take
    program.close()
    taker.join(20)
    assert not taker.is_alive()


def test_a_line_without_end_is_cut() -> None:
    stream, program = _pipe()
    cut: list[bytes] = []
    taker = take_lines("lines", stream, 4, lambda lines: cut.extend(line for _, line in lines))
    program.write(b"123456789\n")
    program.close()
    taker.join(20)
    assert cut == [b"1234", b"5678", b"9\n"]
