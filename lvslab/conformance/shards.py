"""The suite on several directors at once: each shard is a process with a lab of its own, and tells
what it finds as it goes.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from lvslab.conformance.check import Check
from lvslab.errors import LabError, LvslabError

MAX_SHARDS = 4
_END_SECONDS = 10.0

Tell = Callable[[str, Any], None]
"""Takes a word and something that can be pickled."""

Work = Callable[[int, Sequence[Check], Tell], None]
"""Carries out a shard's checks; gets the shard's number from 1."""


def split(checks: Sequence[Check], shards: int) -> list[list[Check]]:
    """Checks in shards of like size; the checks of a subject stay together and in their order,
    because some build on the ones before.
    """
    subjects: dict[str, list[Check]] = {}
    for check in checks:
        subjects.setdefault(check.name.partition(":")[0], []).append(check)
    found: list[list[Check]] = [[] for _ in range(max(1, min(shards, len(subjects))))]
    for own in sorted(subjects.values(), key=len, reverse=True):
        min(found, key=len).extend(own)
    return found


def usual_number() -> int:
    """One for each processor, a few at most."""
    return min(len(os.sched_getaffinity(0)), MAX_SHARDS)


def carry_out(shards: Sequence[Sequence[Check]], work: Work) -> Iterator[tuple[str, Any]]:
    """Do the work of every shard in a process of its own, and yield what they tell, as it comes.

    Raises:
        LabError: a shard broke, with its own message.
    """
    # the processes share the sandbox and what was loaded
    context = multiprocessing.get_context("fork")
    processes, lines = [], []
    try:
        for number, checks in enumerate(shards, start=1):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_shard, args=(number, checks, work, theirs), daemon=True)
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
            raise LabError(
                f"{len(broken)} of {len(shards)} shards of the suite ended with {broken[0].exitcode}"
            )
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


def _shard(number: int, checks: Sequence[Check], work: Work, line: Connection) -> None:
    try:
        work(number, checks, lambda word, value: line.send((word, value)))
    except LvslabError as error:
        line.send(("broken", str(error)))
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        line.close()
