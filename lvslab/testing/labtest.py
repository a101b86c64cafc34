"""One test: its run directory, its labs, and what is to be said when it fails. All of it lives in
the test's sandbox.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from lvslab.errors import LabError
from lvslab.events import Event
from lvslab.host import provenance
from lvslab.kernels.needs import Kernels
from lvslab.modes import mode_records
from lvslab.runs.records import Result, Verdict
from lvslab.runs.writer import RunWriter
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.world import MachineWorld
from lvslab.testing.lab import LabUnderTest

RUN_DIRECTORY = "lvslab run directory"
EVENTS = "lvslab events"
BROKEN = "lvslab: the lab broke"
CONSOLES = "lvslab: consoles of the guests"

_CONSOLE_LINES = 12
_LOG = logging.getLogger("lvslab")
"""Progress, shown live with pytest's --log-cli-level=INFO."""


class LabTest:
    """A running test, as a context manager.

    Attributes:
        run: its run directory.
        labs: those that run, or ran.
        verdict: "pass", "fail" or "skip" as far as the test has got.
    """

    def __init__(
        self,
        runs: Path,
        name: str,
        nodeid: str,
        mode: str,
        options: Mapping[str, Any],
        kernels: Kernels,
        director_kernels: Sequence[str],
        command: Sequence[str],
    ) -> None:
        """
        Args:
            runs: where the run directory is made.
            name, nodeid: of the test, as pytest has them.
            mode, options: of a lab of which nothing else is said.
            director_kernels: of all labs; none: what each asks for.
        """
        self._mode, self._options, self._nodeid = mode, dict(options), nodeid
        parameters = {"mode": mode, **{key: str(value) for key, value in options.items()}}
        if director_kernels:
            parameters["kernel"] = ",".join(director_kernels)
        self.run = RunWriter(
            runs,
            name,
            kind="test",
            command=command,
            parameters=parameters,
            host=provenance.host(),
            forwarding_modes=mode_records(),
        )
        world = MachineWorld(LabUnderTest)
        self._experiment = Experiment(self.run, kernels, self._hear, director_kernels, world=world)
        self.labs: list[LabUnderTest] = []
        self.verdict: Verdict = "pass"
        self._reason = ""
        self._problem: BaseException | None = None
        self._events: list[Event] = []
        self._stack = ExitStack()
        self._said_broken = False
        self._began = time.time()

    def __enter__(self) -> LabTest:
        self._stack.enter_context(self.run)
        self._stack.push(self._record)  # once the labs have gone
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the labs away.

        Raises:
            LabError: a guest or a daemon has died unasked, or a director's kernel complained, and
                no report of the test has said so.
        """
        broken = None if self._said_broken else self._what_broke(ask=self.verdict == "pass")
        if broken is not None:
            self.verdict, self._reason, self._problem = "fail", str(broken), broken
        self._problem = error or self._problem
        self._stack.close()
        if broken is not None and error is None:
            raise broken

    def _record(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write down what became of the test.

        Args:
            error: why a lab could not be put away.
        """
        captures = sorted(str(file.relative_to(self.run.path)) for file in self.run.captures.iterdir())
        self.run.add_result(Result(self._nodeid, self.verdict, self._reason, tuple(captures)))
        if self.verdict == "fail":
            self.run.update(tools=provenance.tools())
        self.run.end(self._problem or error)

    def lab(self, mode: str | None = None, **options: Any) -> LabUnderTest:
        """Bring up a lab, which lives until the test ends; what is not said is as in the test's
        marker.

        Raises:
            UsageError, CannotError: as `lvslab.plan.make.make_plan`.
            LabError: it did not come up.
        """
        chosen, merged = mode or self._mode, {**self._options, **options}
        if self.labs and "name" not in merged:
            merged["name"] = f"{chosen}-{len(self.labs) + 1}"
        lab = self._stack.enter_context(self._experiment.lab(chosen, **merged))
        assert isinstance(lab, LabUnderTest)
        lab.begin(self._experiment)
        self.labs.append(lab)
        return lab

    def remove(self) -> None:
        """Remove the run directory."""
        shutil.rmtree(self.run.path)

    def _hear(self, event: Event) -> None:
        self._events.append(event)
        _LOG.info("%s%s", f"{event.lab}: " if event.lab else "", event.text)

    # -- reports -----------------------------------------------------------------------------------

    def judge(self, outcome: str, reason: str, error: BaseException | None) -> list[tuple[str, str]]:
        """Take a phase's outcome; the sections that its report needs.

        Args:
            outcome: "passed", "failed" or "skipped", as pytest says.
            error: what the test raised.
        """
        if outcome == "skipped":
            self.verdict, self._reason = "skip", reason
        if outcome != "failed":
            return []
        self.verdict, self._reason = "fail", reason
        if isinstance(error, LabError):
            self._problem = error
        sections = [(EVENTS, "\n".join(self._shown(each) for each in self._events))] if self._events else []
        broken = self._what_broke()
        if broken is not None or isinstance(error, LabError):
            self._said_broken = True
            said = [str(broken)] if broken is not None and str(broken) != str(error) else []
            heading = CONSOLES if broken is None else BROKEN
            sections.append((heading, "\n".join([*said, *last_lines(self.run.path)])))
        return [*sections, (RUN_DIRECTORY, str(self.run.path))]

    def _what_broke(self, ask: bool = False) -> LabError | None:
        """What is wrong with a lab that the test did not do on purpose, as far as it is known;
        `ask` the kernels, too.
        """
        for lab in self.labs:
            try:
                lab.check()
                if ask:
                    lab.check_kernels()
            except LabError as error:
                return error
        return None

    def _shown(self, event: Event) -> str:
        return f"{event.t - self._began:+8.3f} s  {f'{event.lab}: ' if event.lab else ''}{event.text}"


def last_lines(run: Path) -> list[str]:
    """The ends of the guests' consoles in a run directory, each headed by its file."""
    lines = []
    for console in sorted(run.glob("logs/*/*.console")):
        said = [line.rstrip() for line in console.read_text(errors="replace").splitlines() if line.strip()]
        lines += [
            f"{console.relative_to(run)} ends with:",
            *(f"    {line}" for line in said[-_CONSOLE_LINES:]),
        ]
    return lines
