"""The prober's two CSV files (docs/run-directory.md) read into `Attempt` and `Beat`, and written.

The real prober writes its own (`lvslab.traffic.probing.lines`), while it has more urgent things to
do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lvslab.errors import UsageError
from lvslab.runs.outage import Attempt, Beat

_ATTEMPT_COLUMNS = ("planned", "start", "connect", "first_byte", "end", "local_port", "server", "outcome")
_BEAT_COLUMNS = ("connection", "opened", "local_port", "planned", "sent", "answered", "server", "outcome")

ATTEMPT_OUTCOMES = ("ok", "refused", "reset", "timeout", "wrong", "unreachable", "local")
BEAT_OUTCOMES = (*ATTEMPT_OUTCOMES, "closed")

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Probes:
    """What a prober recorded. `warnings` are sentences about what could not be read whole."""

    attempts: tuple[Attempt, ...]
    beats: tuple[Beat, ...]
    warnings: tuple[str, ...] = ()


def read_probes(attempts: Path | None, beats: Path | None) -> Probes:
    """Both files of a trial; None for one that is not wanted.

    Raises:
        UsageError: a file cannot be read, or a line in it is wrong; file and line are named.
    """
    warnings: list[str] = []
    return Probes(
        read_attempts(attempts, warnings) if attempts else (),
        read_beats(beats, warnings) if beats else (),
        tuple(warnings),
    )


def read_attempts(file: Path, warnings: list[str]) -> tuple[Attempt, ...]:
    """The attempts, in the order in which they ended. A last line that was cut off adds a warning.

    Raises:
        UsageError: the file cannot be read, or a line in it is wrong.
    """

    def parse(fields: list[str]) -> Attempt:
        planned, start, connect, first_byte, end, port, server, outcome = fields
        _check_outcome(outcome, ATTEMPT_OUTCOMES)
        return Attempt(
            float(planned),
            float(start),
            _maybe(connect),
            _maybe(first_byte),
            float(end),
            int(port) if port else None,
            server,
            outcome,
        )

    return _read(file, _ATTEMPT_COLUMNS, parse, warnings)


def read_beats(file: Path, warnings: list[str]) -> tuple[Beat, ...]:
    """The heartbeats of all long-lived connections, in the order in which they ended. A last line
    that was cut off adds a warning.

    Raises:
        UsageError: the file cannot be read, or a line in it is wrong.
    """

    def parse(fields: list[str]) -> Beat:
        connection, opened, port, planned, sent, answered, server, outcome = fields
        _check_outcome(outcome, BEAT_OUTCOMES)
        return Beat(
            int(connection),
            _maybe(opened),
            int(port) if port else None,
            float(planned),
            float(sent),
            _maybe(answered),
            server,
            outcome,
        )

    return _read(file, _BEAT_COLUMNS, parse, warnings)


def write_attempts(file: Path, attempts: Iterable[Attempt]) -> None:
    """Write attempts, in the order in which they ended; times to the microsecond.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [
        (
            _stamp(attempt.planned),
            _stamp(attempt.start),
            _stamp(attempt.connect),
            _stamp(attempt.first_byte),
            _stamp(attempt.end),
            attempt.local_port,
            attempt.server,
            attempt.outcome,
        )
        for attempt in attempts
    ]
    _write(file, _ATTEMPT_COLUMNS, rows)


def write_beats(file: Path, beats: Iterable[Beat]) -> None:
    """Write heartbeats, in the order in which they ended; times to the microsecond.

    Raises:
        OSError: the file cannot be written.
    """
    rows = [
        (
            beat.connection,
            _stamp(beat.opened),
            beat.local_port,
            _stamp(beat.planned),
            _stamp(beat.sent),
            _stamp(beat.answered),
            beat.server,
            beat.outcome,
        )
        for beat in beats
    ]
    _write(file, _BEAT_COLUMNS, rows)


def _write(file: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
    file.write_text("\n".join([",".join(columns), *lines, ""]), encoding="utf-8")


def _stamp(time: float | None) -> str | None:
    return None if time is None else f"{time:.6f}"


def _read(
    file: Path, columns: tuple[str, ...], parse: Callable[[list[str]], _Record], warnings: list[str]
) -> tuple[_Record, ...]:
    """The lines below the header; the last one is there only when its line end is."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"{file}: cannot be read: {reason}") from None
    *lines, rest = text.split("\n")
    if rest:
        warnings.append(
            f"{file.name}, line {len(lines) + 1}: the last line was cut off while it was written; it is"
            " left out"
        )
    if not lines:
        if not rest:
            warnings.append(f"{file.name}: empty; the prober ended before it wrote anything")
        return ()
    if lines[0] != ",".join(columns):
        raise UsageError(f"{file}, line 1: the header '{','.join(columns)}' is expected here")
    records = []
    for number, line in enumerate(lines[1:], 2):
        fields = line.split(",")
        if len(fields) != len(columns):
            raise UsageError(
                f"{file}, line {number}: {len(columns)} fields are expected, found {len(fields)}"
            )
        try:
            records.append(parse(fields))
        except ValueError as error:
            raise UsageError(f"{file}, line {number}: {error}") from None
    return tuple(records)


def _maybe(field: str) -> float | None:
    return float(field) if field else None


def _check_outcome(outcome: str, allowed: tuple[str, ...]) -> None:
    if outcome not in allowed:
        raise ValueError(f"outcome '{outcome}' is not one of {', '.join(allowed)}")
