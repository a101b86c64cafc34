"""Baselines: runs that are kept to compare later ones with, found by what they did and on which
kernel.

    <runs>/baselines/<name>-<hash of the configuration>/<kernel release>-<hash of kernel configuration and sysctls>/<run directory's name>/

What is kept is a copy of all that a comparison reads: run.json, samples.jsonl and the probes'
records. A kept run is a run directory like any other; removing it is `rm -r`.
"""  # noqa: E501, W505

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

from lvslab.comparison import likeness
from lvslab.errors import CannotError, UsageError
from lvslab.runs.rundir import Run, load

FOLDER = "baselines"
_KEPT = ("run.json", "samples.jsonl")
_SELECTS = ("only", "tags")


def keep(runs: Path, directory: Path) -> Path:
    """Keep a finished run as a baseline; returns where.

    Raises:
        UsageError: it is no run, or did not complete.
        CannotError: the copy cannot be written.
    """
    run = load(directory)
    if run.status != "complete":
        raise UsageError(
            f"{directory}: is {run.status}, so it is no baseline; run it again with --baseline keep"
        )
    place = _place(runs, run) / _kernel_key(run) / directory.resolve().name
    unfinished = place.with_name(f".{place.name}.new")
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name in _KEPT:
            if (directory / name).is_file():
                shutil.copyfile(directory / name, unfinished / name)
        if run.probes.is_dir():
            shutil.copytree(run.probes, unfinished / "probes")
        if place.exists():
            shutil.rmtree(place)
        unfinished.replace(place)
    except OSError as error:
        raise CannotError(f"{place}: the baseline cannot be kept: {error.strerror or error}") from error
    return place


def find(runs: Path, new: Path, release: str | None = None) -> Path:
    """The newest kept run of the same configuration as `new`, never a copy of it; its kernel and
    sysctls may be others.

    Args:
        release: of the kernel that its directors must have run.

    Raises:
        UsageError: `new` is no run.
        CannotError: nothing fitting was kept; says how to keep one.
    """
    run = load(new)
    place = _place(runs, run)
    kept = [file.parent for file in place.glob("*/*/run.json") if not file.parent.name.startswith(".")]
    itself = run.started, new.resolve().name
    found = [
        (each.started, each.path) for each in map(load, kept) if (each.started, each.path.name) != itself
    ]
    if release is not None:
        of_release = [pair for pair in found if _release_of(load(pair[1])) == release]
        if found and not of_release:
            releases = ", ".join(sorted({_release_of(load(path)) for _, path in found}))
            raise CannotError(f"no baseline of '{run.name}' on kernel {release} in {place}; kept: {releases}")
        found = of_release
    if not found:
        raise CannotError(
            f"no baseline of '{run.name}' in {runs / FOLDER} with these parameters; keep one: run the base"
            " with --baseline keep"
        )
    return max(found)[1]


def _place(runs: Path, run: Run) -> Path:
    """The folder of all kept runs of a configuration."""
    kind, name, parameters = likeness.configuration(run)
    selects = {key: run.parameters[key] for key in _SELECTS if key in run.parameters}
    text = json.dumps([kind, name, parameters, selects], sort_keys=True, default=str)
    return runs / FOLDER / f"{_slug(name or kind)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _kernel_key(run: Run) -> str:
    text = json.dumps(likeness.under_test(run), sort_keys=True)
    return f"{_slug(_release_of(run))}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _release_of(run: Run) -> str:
    """The release of the directors' kernels; of several, all."""
    return "+".join(kernel.rpartition(" ")[2] for kernel in likeness.director_kernels(run)) or "unknown"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "run"
