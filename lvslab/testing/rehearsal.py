"""A user's configuration rehearsed by a test: `lvslab rehearse` in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lvslab.errors import CannotError, LabError, LvslabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.runs.codec import from_json
from lvslab.runs.rehearsal import Answers, Change

_WITH_ANSWERS = (ExitCode.OK, ExitCode.FAILED)


@dataclass(frozen=True)
class Rehearser:
    """What the fixture `lvs_rehearsal` is: call it with files.

    Attributes:
        runs: where run directories go.
        kernel: of the directors; "": the usual one.
    """

    runs: Path
    kernel: str = ""

    def __call__(
        self, *files: str | os.PathLike[str], deaths: Sequence[str] = ("killed", "silent", "hung")
    ) -> Answers:
        """Rehearse files; returns the answers (docs/rehearse.md).

        Args:
            files: as `lvslab rehearse` takes them.
            deaths: how single servers die; empty: they do not.

        Raises:
            UsageError: a file cannot be used.
            CannotError: this machine cannot do it.
            LabError: the lab broke.
        """
        return from_json(Answers, self._said([os.fspath(file) for file in files], deaths), "rehearsal")

    def change(
        self,
        old: Sequence[str | os.PathLike[str]],
        new: Sequence[str | os.PathLike[str]],
        deaths: Sequence[str] = ("killed",),
    ) -> Change:
        """Rehearse a change of files; the errors are those of a rehearsal."""
        words = [os.fspath(file) for file in old]
        for file in new:
            words += ["--against", os.fspath(file)]
        return from_json(Change, self._said(words, deaths), "rehearsal")

    def update(
        self,
        *files: str | os.PathLike[str],
        old: str,
        new: str,
        deaths: Sequence[str] = ("killed",),
    ) -> Change:
        """Rehearse files on one kernel and on another, each by its name; the errors are those of a
        rehearsal.
        """
        words = [os.fspath(file) for file in files]
        for kernel in (old, new):
            words += ["--kernel", kernel]
        return from_json(Change, replace(self, kernel="")._said(words, deaths), "rehearsal")

    def _said(self, words: Sequence[str], deaths: Sequence[str]) -> dict[str, object]:
        command = [sys.executable, "-m", "lvslab", "rehearse", *words, "--json", "--runs", str(self.runs)]
        command += ["--deaths", ",".join(deaths) or "none"]
        if self.kernel:
            command += ["--kernel", self.kernel]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in _WITH_ANSWERS:
            lines = [line for line in done.stderr.splitlines() if line.startswith("lvslab: ")]
            kinds: dict[int, type[LvslabError]] = {ExitCode.USAGE: UsageError, ExitCode.CANNOT: CannotError}
            said = lines[-1].removeprefix("lvslab: ") if lines else f"ended with {done.returncode}"
            raise kinds.get(done.returncode, LabError)(said)
        answer: dict[str, object] = json.loads(done.stdout)
        return answer
