"""The suite on several directors at once: each shard is a process with a lab of its own, and tells
what it finds as it goes.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from lvslab.conformance.check import Check
from lvslab.errors import LabError, LvslabError

MAX_SHARDS = 4
_END_SECONDS = 10.0

Tell = Callable[[str, Any], None]
"""Takes a word and something that can be pickled."""

Work = Callable[[int, Iterable[Check], Tell], None]
"""Carries out a shard's checks, which are taken while it goes; gets the shard's number from 1."""


def groups(checks: Sequence[Check], *, singly: bool = False) -> list[list[Check]]:
    """Checks that go to one shard together, the most first: those of a subject in their order,
    because some build on the ones before.

    Args:
        singly: none does, so each is a group.
    """
    subjects: dict[str, list[Check]] = {}
    for check in checks:
        subjects.setdefault(check.name if singly else check.name.partition(":")[0], []).append(check)
    return sorted(subjects.values(), key=len, reverse=True)


def usual_number() -> int:
    """One for each processor, a few at most."""
    return min(len(os.sched_getaffinity(0)), MAX_SHARDS)


def carry_out(groups: Sequence[Sequence[Check]], number: int, work: Work) -> Iterator[tuple[str, Any]]:
    """Do the work in a number of shards, each a process of its own, and yield what they tell, as it
    comes. A shard that is done with a group takes the next one, so all end at about the same time.

    Raises:
        LabError: a shard broke, with its own message.
    """
    # the processes share the sandbox and what was loaded
    context = multiprocessing.get_context("fork")
    processes, lines = [], []
    following = context.Value("i", 0)
    try:
        for own in range(1, number + 1):
            ours, theirs = context.Pipe(duplex=False)
            taken = _taken(groups, following)
            process = context.Process(target=_shard, args=(own, taken, work, theirs), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            lines.append(ours)
        open_lines = list(lines)
        while open_lines:
            for line in wait(open_lines):
                assert isinstance(line, Connection)
                try:
                    word, value = line.recv()
                except EOFError:
                    open_lines.remove(line)
                    continue
                if word == "broken":
                    raise LabError(value)
                yield word, value
        for process in processes:
            process.join(_END_SECONDS)
        broken = [process for process in processes if process.exitcode]
        if broken:
            raise LabError(f"{len(broken)} of {number} shards of the suite ended with {broken[0].exitcode}")
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            process.join(_END_SECONDS)
            if process.is_alive():
                process.kill()
        for line in lines:
            line.close()


def _taken(groups: Sequence[Sequence[Check]], following: Synchronized[int]) -> Iterator[Check]:
    """The checks of groups that nobody has taken; `following` is the next one's place, for all
    shards.
    """
    while True:
        with following.get_lock():
            place = following.value
            following.value += 1
        if place >= len(groups):
            return
        yield from groups[place]


def _shard(number: int, checks: Iterable[Check], work: Work, line: Connection) -> None:
    try:
        work(number, checks, lambda word, value: line.send((word, value)))
    except LvslabError as error:
        line.send(("broken", str(error)))
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        line.close()
