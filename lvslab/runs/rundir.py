"""The run directory (docs/run-directory.md), read; `writer` writes one.

A line that a kill or a full disk cut off is reported in `Run.warnings`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from lvslab.errors import UsageError
from lvslab.runs.codec import from_json
from lvslab.runs.records import FORMAT, VERSION, Lab, PathFile, RunFile, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(RunFile):
    """Everything a run directory says.

    Attributes:
        path: the directory.
        paths: name of a lab → its test flows, for the labs that have a readable
            captures/<lab>.path.json.
        warnings: sentences about what could not be read whole.
    """

    path: Path
    samples: tuple[Sample, ...]
    paths: Mapping[str, PathFile]
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
    if not isinstance(data, dict):
        raise UsageError(f"{file}: an object is expected here, found {type(data).__name__}")
    if data.get("format") != FORMAT:
        raise UsageError(f"{file}: its format is {data.get('format')!r}, '{FORMAT}' is expected")
    version = data.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise UsageError(
            f"{file}: written in version {version} of the format by lvslab {data.get('lvslab')}; this"
            f" lvslab reads up to version {VERSION}: use a newer lvslab"
        )
    top = from_json(RunFile, data, str(file))
    warnings: list[str] = []
    samples = _load_samples(directory / "samples.jsonl", warnings)
    paths = _load_paths(directory, top.labs, warnings)
    said = {item.name: getattr(top, item.name) for item in fields(RunFile)}
    return Run(**said, path=directory, samples=samples, paths=paths, warnings=tuple(warnings))


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
        samples.append(from_json(Sample, data, f"{file}, line {number}"))
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
            data = json.loads(file.read_text(encoding="utf-8"))
            paths[lab.name] = from_json(PathFile, data, file.name)
        except (OSError, ValueError, UsageError) as error:
            warnings.append(f"captures/{file.name}: cannot be read, so its flows are not shown: {error}")
    return paths
