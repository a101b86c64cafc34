"""What a scenario gets: it makes labs, sends traffic, measures and notes what was expected, and
everything lands in the run directory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lvslab.catalog import catalog
from lvslab.errors import UsageError
from lvslab.events import Event, Listener
from lvslab.kernels.needs import Kernels
from lvslab.lab import consoles, provenance
from lvslab.lab.check import require_control
from lvslab.lab.lab import Lab, in_real_time
from lvslab.lab.worlds import AnyLab
from lvslab.modes import MODES
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.services import HTTP_PORT
from lvslab.plan.spec import LabSpec
from lvslab.runs.lateness import Excuse, verdict
from lvslab.runs.records import Bound, Result, ServiceCounters
from lvslab.runs.writer import RunWriter
from lvslab.scenario.trial import Trial
from lvslab.scenario.world import MachineWorld, World
from lvslab.traffic.prober import ProbeSpec
from lvslab.verify.verification import Verification, verify

_PORTS = (1024, 60999)
"""Local ports that a trial's attempts go round in: a port that comes back too soon would meet the
entry of its old connection in the director's table, which is an experiment of its own
(scenarios/port_reuse.py).
"""

_COUNTER_SECONDS = 2.5
"""Kernels up to 6.1 bring the counters that ipvsadm shows up to date every two seconds
(ip_vs_est.c).
"""


class Experiment:
    """The log book of one run.

    Attributes:
        run: the run directory being written.
        failures: expectations that did not hold.
        complaints: what kernels of its labs complained of; each is a failure.
        unjudged: expectations that were missed on a machine that was too late to judge them.
        turn: the repetition to do now, where several kernels or settings take turns; None: all of
            them.
        takes_turns: whether the scenario has asked for its repetitions.
        begun: whether a lab was started.
    """

    def __init__(
        self,
        run: RunWriter,
        kernels: Kernels,
        listener: Listener,
        director_kernels: Sequence[str] = (),
        sysctls: Mapping[str, str] | None = None,
        world: World | None = None,
    ) -> None:
        """Begin it.

        Args:
            director_kernels, sysctls: what the command line says about the directors.
            world: of its labs; None: this machine.
        """
        self.run, self._kernels, self._listener, self._director_kernels = (
            run,
            kernels,
            listener,
            director_kernels,
        )
        self._sysctls, self._world = dict(sysctls or {}), world or MachineWorld()
        self.failures = self.unjudged = 0
        self.turn: int | None = None
        self.takes_turns = self.begun = False
        self.last_verification: Verification | None = None
        self.complaints: list[Result] = []
        self._labs: dict[str, int] = {}
        self._counters: dict[str, tuple[ServiceCounters, ...]] = {}
        self._trial: Trial | None = None

    def tell(self, event: Event) -> None:
        """Note an event in the run directory and show it: what was shown is on record, whatever
        comes next.
        """
        self.run.add_event(event.lab, event.kind, event.text, t=event.t)
        if self._trial:
            self._trial.hear(event)
        self._listener(event)

    def repetitions(self, repeat: int) -> Sequence[int]:
        """The repetitions to do now: 1 … `repeat`, or the only one whose turn it is.

        A scenario with a parameter `repeat` loops over them, so that the repetitions of several
        kernels can be interleaved.
        """
        self.takes_turns = True
        return range(1, repeat + 1) if self.turn is None else (self.turn,)

    def note(self, text: str) -> None:
        """Note something in the log book."""
        self.tell(Event("", "note", text, self._world.now()))

    @contextmanager
    def lab(self, mode: str, **options: Any) -> Iterator[AnyLab]:
        """Bring up a lab; it is torn down when the block is left.

        Args:
            mode: one of `lvslab.modes.MODES`.
            options: the attributes of `lvslab.plan.spec.LabSpec`, in the words of
                `LabSpec.of`. What the command line says about the directors' kernels counts more.

        Raises:
            UsageError: the lab cannot be, or the command line sets a sysctl that the scenario sets.
            CannotError: no kernel here meets a node's needs.
        """
        spec = LabSpec.of(mode, **options)
        twice = sorted(set(spec.sysctls) & set(self._sysctls))
        if twice:
            raise UsageError(
                f"--set {twice[0]}: the scenario sets it itself, to see what it does; use the scenario's own"
                " parameters"
            )
        spec = replace(
            spec,
            kernels=tuple(self._world.kernels(spec.kernels, self._director_kernels)),
            sysctls={**self._sysctls, **spec.sysctls},
        )
        self._kernels = catalog.including(self._kernels, spec.kernels)
        with self.planned_lab(make_plan(spec, self._kernels)) as lab:
            yield lab

    @contextmanager
    def real_lab(self, mode: str, **options: Any) -> Iterator[Lab]:
        """As `lab`, for what needs programs of this machine in its nodes, or asks what work costs.

        Raises:
            CannotError: the experiment is in virtual time.
        """
        with self.lab(mode, **options) as lab:
            yield in_real_time(lab, "what this scenario asks")

    @contextmanager
    def planned_lab(self, plan: LabPlan) -> Iterator[AnyLab]:
        """Bring up a lab from its plan."""
        require_control(plan)
        number = self._labs[plan.name] = self._labs.get(plan.name, 0) + 1
        logs = self.run.logs / (plan.name if number == 1 else f"{plan.name}.{number}")
        logs.mkdir()
        self.run.add_lab(provenance.lab_record(plan, self._kernels.facts))
        lab = self._world.lab(plan, logs, self.tell)
        self.begun = True
        try:
            with lab:
                yield lab
        finally:
            self._hear_consoles(plan, logs)
        counters = self._counters.get(plan.name, ())
        self.run.add_lab(provenance.lab_record(plan, self._kernels.facts, lab, counters))

    def _hear_consoles(self, plan: LabPlan, logs: Path) -> None:
        """What a lab's kernels complained of fails the run, whatever its verdicts say."""
        complaints = consoles.complaints(logs, self.run.path)
        self.complaints += complaints
        self.failures += len(complaints)
        self.run.add_results(complaints)
        for result in complaints:
            self.tell(Event(plan.name, "verdict", f"FAIL: {result.reason}", self._world.now()))

    @contextmanager
    def trial(
        self,
        lab: AnyLab,
        *,
        variant: str,
        expects: str,
        repeat: int = 1,
        bound: Bound | None = None,
        rate: float | None = 500.0,
        port: int = HTTP_PORT,
        **probe: Any,
    ) -> Iterator[Trial]:
        """Put a lab under the load of a prober in its first client; everything that happens
        meanwhile is marked.

        Args:
            variant: what is compared in this scenario: "mon", "with sync", …
            expects: one sentence that says what must happen, failures included.
            bound: what a formula predicts for the outage.
            rate: new connections (or datagrams) a second, None for none.
            probe: further fields of `lvslab.traffic.prober.ProbeSpec`.
        """
        if probe.get("protocol", "tcp") == "tcp":
            probe.setdefault("ports", _PORTS)
        spec = ProbeSpec(lab.plan.addresses.vip, port, tuple(lab.plan.addresses.rips), rate=rate, **probe)
        trial = Trial(
            lab, self._world, self.run, spec, variant=variant, repeat=repeat, expects=expects, bound=bound
        )
        self._trial = trial
        try:
            with trial:
                yield trial
        finally:
            self._trial = None

    def verify(self, lab: AnyLab) -> Verification:
        """Prove the lab's packet paths; the verdict becomes a result of the run."""
        outcome = verify(in_real_time(lab, "a proof from captures at every link"), self.run.path)
        self.last_verification = outcome
        self.failures += outcome.verdict == "fail"
        self.run.add_result(outcome.result(lab.plan.name))
        lab.tell("verdict", f"{lab.plan.mode.title}: {outcome.verdict.upper()}: {outcome.reason}")
        return outcome

    def get(self, lab: AnyLab, times: int = 1, client: int = 1) -> list[str]:
        """Names of the real servers that answered `times` requests to the virtual service; "" for a
        request that failed.
        """
        return self._world.get(lab, client - 1, times)

    def expect(
        self,
        name: str,
        holds: bool,
        reason: str,
        evidence: Sequence[str] = (),
        trial: Trial | None = None,
        excuse: Excuse | None = None,
    ) -> None:
        """Note whether an expectation held; one that did not makes the run fail (exit code 1),
        unless the machine was so late that nothing can be said (4).

        Args:
            trial: the trial that it is about, whose files are the evidence.
            excuse: how late the machine must have been to explain that it did not hold.
        """
        outcome = verdict(holds, excuse)
        self.failures += outcome == "fail"
        self.unjudged += outcome == "skip"
        if outcome == "skip" and excuse:
            reason = f"not judged: the machine was late by {excuse.late * 1000:.0f} ms; {reason}"
        if trial:
            trial.judged(outcome)
            evidence = [*evidence, *trial.evidence]
        result = Result(name, outcome, reason, tuple(evidence))
        self.run.add_result(result)
        self.tell(Event("", "verdict", f"{name}: {result.verdict.upper()}: {reason}", self._world.now()))

    def counters(self, lab: AnyLab) -> tuple[ServiceCounters, ...]:
        """The director's counters after the kernel has brought them up to date; they are kept with
        the lab.
        """
        lab.clock.sleep(_COUNTER_SECONDS)
        found = self._counters[lab.plan.name] = provenance.counters(lab)
        return found


def run_directory_name(modes: Sequence[str]) -> str:
    """Name of a verification's run directory."""
    return "verify" if len(modes) == len(MODES) else "verify-" + "-".join(modes)
