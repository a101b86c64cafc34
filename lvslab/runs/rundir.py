"""The run directory (docs/run-directory.md): `load` reads one, `RunWriter` writes one.

What a crash leaves is always readable: run.json is replaced by rename and never edited in place;
samples.jsonl grows by whole lines, each written the moment it was taken. A line that a kill or a
full disk cut off is reported in `Run.warnings`.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, cast

from lvslab import __version__
from lvslab.errors import LabError, LvslabError, UsageError
from lvslab.runs.fields import Fields
from lvslab.runs.records import Event, Lab, PathFile, Result, Sample, Status, Trial

FORMAT = "lvslab-run"
VERSION = 1

_STATES = ("running", "complete", "interrupted", "broken")


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a run directory says. `warnings` are sentences about what could not be
    read whole.
    """

    path: Path
    lvslab: str
    name: str
    kind: str
    command: tuple[str, ...]
    scenario: Mapping[str, Any] | None
    parameters: Mapping[str, Any]
    status: Status
    error: str | None
    started: str
    finished: str | None
    host: Mapping[str, Any]
    tools: Mapping[str, str | None]
    labs: tuple[Lab, ...]
    events: tuple[Event, ...]
    results: tuple[Result, ...]
    not_comparable: tuple[str, ...]
    trials: tuple[Trial, ...]
    samples: tuple[Sample, ...]
    paths: Mapping[str, PathFile]
    """Name of a lab → its test flows, for the labs that have a readable
    captures/<lab>.path.json.
    """
    warnings: tuple[str, ...]

    @property
    def probes(self) -> Path:
        """The folder of the prober's files; it need not exist."""
        return self.path / "probes"

    @property
    def modes(self) -> tuple[str, ...]:
        """The forwarding modes of the run, each once: those of the labs in their order, then those
        only samples mention.
        """
        return tuple(
            dict.fromkeys([lab.mode for lab in self.labs] + [s.mode for s in self.samples if s.mode])
        )

    def of(self, metric: str, mode: str | None = None) -> tuple[Sample, ...]:
        """The samples of a metric, of one mode or of all, in the order in which they were taken."""
        return tuple(s for s in self.samples if s.metric == metric and (mode is None or s.mode == mode))


def load(path: Path | str) -> Run:
    """Read the run directory `path`.

    Raises UsageError, with the file and the cause, when there is nothing to read or it is not what
    this version understands.
    """
    directory = Path(path)
    file = directory / "run.json"
    if not directory.exists():
        raise UsageError(f"{directory}: there is no such run directory")
    if not directory.is_dir():
        raise UsageError(f"{directory}: this is a file, the directory of a run is expected")
    if not file.is_file():
        raise UsageError(f"{directory}: no run.json in it, so it is not the directory of a run")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read: {error}") from error
    top = Fields(data, str(file))
    if top.data.get("format") != FORMAT:
        raise UsageError(f"{file}: its format is {top.data.get('format')!r}, '{FORMAT}' is expected")
    version = top.data.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise UsageError(
            f"{file}: written in version {version} of the format by lvslab {top.data.get('lvslab')}; this"
            f" lvslab reads up to version {VERSION}: use a newer lvslab"
        )
    labs = tuple(Lab.read(item) for item in top.objects("labs"))
    warnings: list[str] = []
    return Run(
        path=directory,
        lvslab=top.text("lvslab", "unknown"),
        name=top.text("name"),
        kind=top.text("kind", "run"),
        command=top.texts("command"),
        scenario=top.mapping("scenario") or None,
        parameters=top.mapping("parameters"),
        status=cast(Status, top.choice("status", _STATES)),
        error=top.maybe_text("error"),
        started=top.text("started", ""),
        finished=top.maybe_text("finished"),
        host=top.mapping("host"),
        tools=top.mapping("tools"),
        labs=labs,
        events=tuple(Event.read(item) for item in top.objects("events")),
        results=tuple(Result.read(item) for item in top.objects("results")),
        not_comparable=top.texts("not_comparable"),
        trials=tuple(Trial.read(item) for item in top.objects("trials")),
        samples=_load_samples(directory / "samples.jsonl", warnings),
        paths=_load_paths(directory, labs, warnings),
        warnings=tuple(warnings),
    )


def _load_samples(file: Path, warnings: list[str]) -> tuple[Sample, ...]:
    """The samples of a run; none when the file is missing (a run that measured nothing)."""
    if not file.exists():
        return ()
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    samples = []
    for number, line in numbered:
        try:
            data = json.loads(line)
        except ValueError as error:
            if number == numbered[-1][0]:
                warnings.append(
                    f"{file.name}, line {number}: the last sample was cut off while it was written; it is"
                    " left out"
                )
                break
            raise UsageError(f"{file}, line {number}: this is not JSON: {error}") from error
        samples.append(Sample.read(Fields(data, f"{file}, line {number}")))
    return tuple(samples)


def _load_paths(directory: Path, labs: Sequence[Lab], warnings: list[str]) -> dict[str, PathFile]:
    """The path files of the labs. A broken one costs the report a figure, not the report: it
    becomes a warning.
    """
    paths = {}
    for lab in labs:
        file = directory / "captures" / f"{lab.name}.path.json"
        if not file.is_file():
            continue
        try:
            paths[lab.name] = PathFile.read(Fields(json.loads(file.read_text(encoding="utf-8")), file.name))
        except (OSError, ValueError, UsageError) as error:
            warnings.append(f"captures/{file.name}: cannot be read, so its flows are not shown: {error}")
    return paths


# --- writing --------------------------------------------------------------------------------------


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
        scenario: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        host: Mapping[str, Any] | None = None,
        tools: Mapping[str, str | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._root = Path(root)
        self._clock = clock
        self._lock = threading.RLock()
        self._samples: FileIO | None = None
        self._samples_size = 0
        self.path = self._root
        self._data: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "lvslab": __version__,
            "name": name,
            "kind": kind,
            "command": list(command),
            "scenario": None if scenario is None else dict(scenario),
            "parameters": dict(parameters or {}),
            "status": "running",
            "error": None,
            "started": _utc(clock()),
            "finished": None,
            "host": dict(host or {}),
            "tools": dict(tools or {}),
            "labs": [],
            "events": [],
            "results": [],
            "not_comparable": [],
            "trials": [],
        }

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
        with self._lock:
            if error is None:
                self._data["status"] = "complete"
            elif isinstance(error, KeyboardInterrupt):
                self._data.update(status="interrupted", error="interrupted by a signal")
            else:
                message = str(error)
                plain = isinstance(error, LvslabError) and message
                self._data.update(
                    status="broken", error=message if plain else f"{type(error).__name__}: {message}"
                )
            self._data["finished"] = _utc(self._clock())
            if self._samples is not None:
                self._samples.close()
                self._samples = None
            try:
                self._save()
            except LabError:
                # otherwise the exception under way is the cause; this one would hide it
                if error is None:
                    raise

    def add_lab(self, lab: Mapping[str, Any]) -> None:
        """Add an entry of `labs`; one with the same name is replaced, so a lab may be added when it
        is planned and again when it ended with its counters.
        """
        self._replace("labs", lab)

    def add_trial(self, trial: Mapping[str, Any]) -> None:
        """Add an entry of `trials`; one with the same name is replaced, so a trial may be added
        when it begins and again when it ended with its marks and verdict.
        """
        self._replace("trials", trial)

    def add_result(self, result: Mapping[str, Any]) -> None:
        """Add an entry of `results`: `name`, `verdict`, `reason`, `evidence`, `checks`."""
        self._add("results", dict(result))

    def add_results(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Add several entries of `results` at once."""
        with self._lock:
            self._data["results"] += [dict(each) for each in results]
            self._save()

    def add_event(self, lab: str, event: str, detail: str = "", *, t: float | None = None) -> None:
        """Add something that happened, now or at `t` (seconds since the epoch)."""
        self._add(
            "events", {"t": self._clock() if t is None else t, "lab": lab, "event": event, "detail": detail}
        )

    def add_not_comparable(self, sentence: str) -> None:
        """Say which numbers must not be set side by side, and why."""
        self._add("not_comparable", sentence)

    def update(
        self,
        *,
        host: Mapping[str, Any] | None = None,
        tools: Mapping[str, str | None] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Add what is known only after the start to `host`, `tools` or `parameters`."""
        with self._lock:
            for key, more in (("host", host), ("tools", tools), ("parameters", parameters)):
                self._data[key].update(more or {})
            self._save()

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
        line: dict[str, Any] = {
            "t": self._clock() if t is None else t,
            "lab": lab,
            "mode": mode,
            "metric": metric,
            "unit": unit,
            "repeat": repeat,
        }
        line |= {"value": value} if values is None else {"values": list(values)}
        line |= {"labels": dict(labels)} if labels else {}
        line |= {"error": error} if error is not None else {}
        text = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with self._lock:
            if self._samples is None:
                raise LabError(
                    f"{self.path / 'samples.jsonl'}: the run is not open, the sample of '{metric}' cannot be"
                    " written"
                )
            _append(self._samples, self._samples_size, text, self.path / "samples.jsonl")
            self._samples_size += len(text)

    def _add(self, key: str, item: object) -> None:
        with self._lock:
            self._data[key].append(item)
            self._save()

    def _replace(self, key: str, item: Mapping[str, Any]) -> None:
        """Put an item in the place of the one of the same name, or at the end."""
        with self._lock:
            items = self._data[key]
            for index, known in enumerate(items):
                if known["name"] == item["name"]:
                    items[index] = dict(item)
                    break
            else:
                items.append(dict(item))
            self._save()

    def _make_directory(self) -> Path:
        """A directory that did not exist before: its time is that of the start, a counter tells
        runs of one second apart.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        stamp = datetime.fromisoformat(self._data["started"]).strftime("%Y%m%d-%H%M%S")
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", self._data["name"]).strip("-.") or "run"
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
            text = json.dumps(self._data, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
            try:
                with temporary.open("w", encoding="utf-8") as stream:
                    stream.write(text)
                    stream.flush()
                    if self._data["finished"]:
                        os.fsync(stream.fileno())
                temporary.replace(file)
            except OSError as error:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                _write_failed(file, error)


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
