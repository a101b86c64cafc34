"""The run directory (docs/run-directory.md), written; `rundir` reads one.

What a crash leaves is always readable: run.json is replaced by rename and never edited in place;
samples.jsonl grows by whole lines, each written the moment it was taken.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from lvslab import __version__
from lvslab.errors import LabError, LvslabError, StoppedError
from lvslab.runs.codec import to_json
from lvslab.runs.records import Event, ForwardingMode, Lab, Result, RunFile, Sample, Scenario, Trial

_Named = TypeVar("_Named", bound=Lab | Trial)


class RunWriter:
    """Makes `<root>/<YYYYmmdd-HHMMSS>-<name>/` (UTC) and keeps it readable at every moment. Use it
    as a context manager.

    Leaving the block without an exception sets status "complete", by KeyboardInterrupt
    "interrupted", by any other exception "broken" with its message in `error`. Every method may be
    called from any thread. A write that fails (disk full) raises LabError with the file's name;
    everything written before stays as it is.

    Attributes:
        path: the run directory; it exists once the block is entered.
        captures, logs, probes: its folders for captures, logs and the prober's files.
    """

    def __init__(
        self,
        root: Path | str,
        name: str,
        *,
        kind: str,
        command: Sequence[str],
        scenario: Scenario | None = None,
        parameters: Mapping[str, Any] | None = None,
        host: Mapping[str, Any] | None = None,
        tools: Mapping[str, str | None] | None = None,
        forwarding_modes: Sequence[ForwardingMode] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = Path(root)
        self._clock = clock
        self._lock = threading.RLock()
        self._samples: FileIO | None = None
        self._samples_size = 0
        self.path = self._root
        self._made: list[Path] = []
        self._file = RunFile(
            lvslab=__version__,
            name=name,
            kind=kind,
            command=tuple(command),
            scenario=scenario,
            parameters=dict(parameters or {}),
            status="running",
            started=_utc(clock()),
            host=dict(host or {}),
            tools=dict(tools or {}),
            forwarding_modes=tuple(forwarding_modes),
        )

    @property
    def captures(self) -> Path:
        """The folder of the captures."""
        return self.path / "captures"

    @property
    def logs(self) -> Path:
        """The folder of the logs, one folder a lab inside."""
        return self.path / "logs"

    @property
    def probes(self) -> Path:
        """The folder of the prober's files."""
        return self.path / "probes"

    def __enter__(self) -> Self:
        try:
            self.path = self._make_directory()
            self.captures.mkdir()
            self.logs.mkdir()
            self.probes.mkdir()
            self._samples = (self.path / "samples.jsonl").open("ab", buffering=0)
        except OSError as error:
            _write_failed(self.path, error)
        self._save()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Close the run directory before its block is left; only the first call counts.

        Args:
            error: what ended the run, or None where it is complete.

        Raises:
            LabError: it cannot be written, and nothing else has gone wrong before.
        """
        with self._lock:
            if self._file.finished is not None:
                return
            finished = replace(self._file, status="complete", finished=_utc(self._clock()))
            if isinstance(error, KeyboardInterrupt):
                finished = replace(finished, status="interrupted", error="interrupted by a signal")
            elif isinstance(error, StoppedError):
                finished = replace(finished, status="interrupted", error=str(error))
            elif error is not None:
                message = str(error)
                plain = isinstance(error, LvslabError) and message
                cause = message if plain else f"{type(error).__name__}: {message}"
                finished = replace(finished, status="broken", error=cause)
            self._file = finished
            if self._samples is not None:
                self._samples.close()
                self._samples = None
            try:
                self._save()
            except LabError:
                # otherwise the exception under way is the cause; this one would hide it
                if error is None:
                    raise

    def discard(self) -> None:
        """Take the directory away: nothing has happened that is worth keeping."""
        with self._lock:
            if self._samples is not None:
                self._samples.close()
                self._samples = None
            shutil.rmtree(self.path, ignore_errors=True)
            for folder in self._made:
                with suppress(OSError):  # another run has come into it
                    folder.rmdir()

    def add_lab(self, lab: Lab) -> None:
        """Add an entry of `labs`; one with the same name is replaced, so a lab may be added when it
        is planned and again when it ended with its counters.
        """
        with self._lock:
            self._change(labs=_with(self._file.labs, lab))

    def add_trial(self, trial: Trial) -> None:
        """Add an entry of `trials`; one with the same name is replaced, so a trial may be added
        when it begins and again when it ended with its marks and verdict.
        """
        with self._lock:
            self._change(trials=_with(self._file.trials, trial))

    def add_result(self, result: Result) -> None:
        """Add an entry of `results`."""
        self.add_results([result])

    def add_results(self, results: Sequence[Result]) -> None:
        """Add several entries of `results` at once."""
        with self._lock:
            self._change(results=(*self._file.results, *results))

    def add_event(self, lab: str, event: str, detail: str = "", *, t: float | None = None) -> None:
        """Add something that happened, now or at `t` (seconds since the epoch)."""
        happened = Event(t=self._clock() if t is None else t, lab=lab, event=event, detail=detail)
        with self._lock:
            self._change(events=(*self._file.events, happened))

    def add_not_comparable(self, sentence: str) -> None:
        """Say which numbers must not be set side by side, and why."""
        with self._lock:
            self._change(not_comparable=(*self._file.not_comparable, sentence))

    def update(
        self,
        *,
        host: Mapping[str, Any] | None = None,
        tools: Mapping[str, str | None] | None = None,
    ) -> None:
        """Add what is known only after the start to `host` or `tools`."""
        with self._lock:
            known = self._file
            self._change(host={**known.host, **(host or {})}, tools={**known.tools, **(tools or {})})

    def sample(
        self,
        *,
        lab: str,
        mode: str,
        metric: str,
        unit: str,
        repeat: int,
        value: float | None = None,
        values: Sequence[float] | None = None,
        labels: Mapping[str, str] | None = None,
        error: str | None = None,
        t: float | None = None,
    ) -> None:
        """Append one measurement to samples.jsonl. One that failed has neither value nor values,
        and an `error`.
        """
        sample = Sample(
            t=self._clock() if t is None else t,
            lab=lab,
            mode=mode,
            metric=metric,
            unit=unit,
            repeat=repeat,
            value=value,
            values=None if values is None else tuple(values),
            labels=dict(labels or {}),
            error=error,
        )
        text = json.dumps(sample_json(sample), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._lock:
            if self._samples is None:
                raise LabError(
                    f"{self.path / 'samples.jsonl'}: the run is not open, the sample of '{metric}' cannot be"
                    " written"
                )
            _append(self._samples, self._samples_size, text, self.path / "samples.jsonl")
            self._samples_size += len(text)

    def _change(self, **changes: Any) -> None:
        self._file = replace(self._file, **changes)
        self._save()

    def _make_directory(self) -> Path:
        """A directory that did not exist before: its time is that of the start, a counter tells
        runs of one second apart.
        """
        self._made = [each for each in (self._root, *self._root.parents) if not each.exists()]
        self._root.mkdir(parents=True, exist_ok=True)
        stamp = datetime.fromisoformat(self._file.started).strftime("%Y%m%d-%H%M%S")
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", self._file.name).strip("-.") or "run"
        counter = 1
        while True:
            path = self._root / (f"{stamp}-{slug}" if counter == 1 else f"{stamp}-{slug}-{counter}")
            try:
                path.mkdir()
            except FileExistsError:
                counter += 1
            else:
                return path

    def _save(self) -> None:
        """Replace run.json by one rename: a reader sees the old text or the new one, never half of
        either.
        """
        file, temporary = self.path / "run.json", self.path / "run.json.new"
        with self._lock:
            text = json.dumps(to_json(self._file), ensure_ascii=False, indent=1, allow_nan=False) + "\n"
            try:
                with temporary.open("w", encoding="utf-8") as stream:
                    stream.write(text)
                    stream.flush()
                    if self._file.finished:
                        os.fsync(stream.fileno())
                temporary.replace(file)
            except OSError as error:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                _write_failed(file, error)


def sample_json(sample: Sample) -> dict[str, Any]:
    """A line of samples.jsonl: `values` stands in the place of `value`, not beside it."""
    line = to_json(sample)
    if sample.values is not None:
        del line["value"]
    return line


def _with(known: tuple[_Named, ...], new: _Named) -> tuple[_Named, ...]:
    """The entries with a new one in the place of that of the same name, or at the end."""
    if all(entry.name != new.name for entry in known):
        return (*known, new)
    return tuple(new if entry.name == new.name else entry for entry in known)


def _append(stream: FileIO, size: int, text: bytes, file: Path) -> None:
    """Append `text` whole or not at all to a file of `size` bytes: half a line would spoil the line
    after it.
    """
    try:
        written = 0
        while written < len(text):
            written += stream.write(text[written:]) or 0
    except OSError as error:
        with suppress(OSError):
            os.ftruncate(stream.fileno(), size)
        _write_failed(file, error)


def _write_failed(file: Path, error: OSError) -> NoReturn:
    raise LabError(
        f"{file}: cannot be written: {error.strerror or error}; what was written before stays readable"
    ) from error


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
