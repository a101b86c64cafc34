"""A program of its own: keeps one training lab running in the background and does what
`lvslab train …` asks of it.

The lab belongs to the main thread, which works off one request at a time; shells and questions
about the state run beside it.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvslab.errors import LvslabError, UsageError
from lvslab.events import Event
from lvslab.exitcodes import ExitCode
from lvslab.host import linux, sandbox
from lvslab.lab.lab import Lab
from lvslab.plan.files import mistakes_in
from lvslab.plan.plan import LabPlan
from lvslab.training import exam, scripts, session
from lvslab.training.exercise import Exercise, load
from lvslab.training.line import Line, listen
from lvslab.training.network import plan_exercise
from lvslab.training.nodes import named, student_nodes

_LOOK = 0.5
"""Seconds between looks at whether a guest has died."""

_SCRIPT_SECONDS = 120.0
_ANSWER_SECONDS = 2.0


@dataclass
class _Request:
    """Something for the main thread."""

    do: Callable[[Callable[[str], None]], Any]
    tell: Callable[[str], None]
    done: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    error: BaseException | None = None


@dataclass
class _Listener:
    """Passes on what happens in the lab for as long as somebody wants to know."""

    tell: Callable[[str], None]

    def __call__(self, event: Event) -> None:
        self.tell(event.text)


def _nobody(text: str) -> None:
    """Nobody wants to know."""


class Keeper:
    """One exercise, its running lab, and what the student has asked for so far."""

    def __init__(self, exercise: Exercise, plan: LabPlan, directory: Path) -> None:
        """`directory`: the session's, for guests' consoles."""
        self._exercise, self._plan, self._directory = exercise, plan, directory
        self._stack = ExitStack()
        self._lab: Lab | None = None
        self._requests: queue.Queue[_Request] = queue.Queue()
        self._leaving = False
        self._since = time.time()
        self._hints = 0
        self._checks: list[bool] = []
        self._solved = False
        self._diagnoses = 0

    # -- the lab -----------------------------------------------------------------------------------

    def bring_up(self, tell: Callable[[str], None]) -> None:
        """Build the network and prepare the exercise in it.

        Raises:
            LabError: it did not come up.
        """
        logs = Path(tempfile.mkdtemp(prefix="logs-", dir=self._directory))
        hear = _Listener(tell)
        self._lab = self._stack.enter_context(Lab(self._plan, logs, hear))
        hear.tell = _nobody
        # what is broken is for the student to find out
        scripts.prepare(self._exercise, self._running)

    @property
    def _running(self) -> Lab:
        assert self._lab is not None
        return self._lab

    # -- requests ----------------------------------------------------------------------------------

    def serve(self, listener: socket.socket) -> None:
        """Work until somebody says stop."""
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        try:
            while not self._leaving:
                with suppress(queue.Empty):
                    request = self._requests.get(timeout=_LOOK)
                    self._work(request)
                    request.answered.wait(_ANSWER_SECONDS)
        finally:
            self._stack.close()

    def _work(self, request: _Request) -> None:
        try:
            request.result = request.do(request.tell)
        except Exception as error:  # goes to whoever asked
            request.error = error
        finally:
            request.done.set()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(Line(sock),), daemon=True).start()

    def _answer(self, line: Line) -> None:
        """One connection: one request and its answer."""
        try:
            message = line.receive()
            if not isinstance(message, dict):
                return
            try:
                self._do(message, line)
            except LvslabError as error:
                line.send({"error": str(error), "code": int(error.exit_code)})
            except (OSError, ValueError):
                raise
            except Exception as error:
                line.send(
                    {
                        "error": f"lab '{self._exercise.name}': {type(error).__name__}: {error}",
                        "code": ExitCode.LAB_BROKE,
                    }
                )
        except (OSError, ValueError):  # whoever asked has gone away
            pass
        finally:
            line.close()

    def _do(self, message: dict[str, Any], line: Line) -> None:
        verb = message.get("do")
        beside = {"status": self._status, "hint": self._hint, "diagnose": self._diagnose}
        in_turn = {
            "check": self._check,
            "solve": self._solve,
            "reset": self._reset,
            "stop": self._stop,
        }
        if verb in beside:
            line.send({"done": beside[verb](message)})
        elif verb in in_turn:
            request = _Request(in_turn[verb], lambda text: line.send({"event": text}))
            self._requests.put(request)
            request.done.wait()
            try:
                if request.error:
                    raise request.error
                line.send({"done": request.result})
            finally:
                request.answered.set()
        elif verb == "run":
            node = self._student_node(message)
            done = self._running.node(node).run(
                message["script"], timeout=float(message.get("timeout", _SCRIPT_SECONDS))
            )
            line.send({"done": {"code": done.code, "out": done.out, "err": done.err}})
        elif verb == "shell":
            self._shell(message, line)
        else:
            raise UsageError(
                f"the keeper of lab '{self._exercise.name}' does not know how to '{verb}'; is it of another"
                " version?"
            )

    def _student_node(self, message: dict[str, Any]) -> str:
        node = named(self._plan, str(message.get("node")))
        if node is None:
            names = ", ".join(each.name for each in student_nodes(self._plan))
            raise UsageError(
                f"lab '{self._exercise.name}': there is no node '{message.get('node')}'; nodes: {names}"
            )
        return node.name

    def _shell(self, message: dict[str, Any], line: Line) -> None:
        from lvslab.training import shells

        node = self._student_node(message)
        guest = self._running.node(node)
        guest.guest.agent.check_alive()
        line.send({"done": {"node": node}})
        shells.serve(guest, line, int(message["rows"]), int(message["columns"]), str(message["terminal"]))

    # -- what is asked -----------------------------------------------------------------------------

    def _status(self, message: dict[str, Any]) -> dict[str, Any]:
        lab = self._running
        return {
            "lab": self._exercise.name,
            "title": self._exercise.title,
            "since": self._since,
            "hints": [self._hints, len(self._exercise.hints)],
            "checks": self._checks,
            "solved": self._solved,
            "diagnoses": self._diagnoses,
            "vip": self._plan.addresses.vip,
            "nodes": [
                {
                    "name": each.name,
                    "role": str(each.role),
                    "addresses": [interface.address for interface in each.interfaces],
                    "on": lab.is_on(each.name),
                }
                for each in student_nodes(self._plan)
            ],
        }

    def _hint(self, message: dict[str, Any]) -> dict[str, Any]:
        hints = self._exercise.hints
        self._hints = min(self._hints + 1, len(hints))
        return {"hints": list(hints[: self._hints]), "of": len(hints)}

    def _check(self, tell: Callable[[str], None]) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="check-", dir=self._directory) as there:
            with mistakes_in(self._exercise.file):
                held = exam.take(self._exercise.check, exam.Exam(self._running, Path(there)))
        self._checks.append(held.passed)
        if held.passed and not self._solved:
            session.note_passed(self._exercise.name)
        return {
            "passed": held.passed,
            "noted": held.passed and not self._solved,
            "points": [
                {"name": each.name, "verdict": each.verdict, "reason": each.reason} for each in held.points
            ],
        }

    def _solve(self, tell: Callable[[str], None]) -> dict[str, Any]:
        self._solved = True
        scripts.solve(self._exercise, self._running, tell)
        return {"solution": dict(self._exercise.solution)}

    def _reset(self, tell: Callable[[str], None]) -> dict[str, Any]:
        self._stack.close()
        self._hints, self._solved, self._checks, self._diagnoses = 0, False, [], 0
        try:
            self.bring_up(tell)
        except BaseException:
            self._leaving = True
            raise
        return {}

    def _stop(self, tell: Callable[[str], None]) -> dict[str, Any]:
        self._leaving = True
        self._stack.close()
        return {}

    def _diagnose(self, message: dict[str, Any]) -> dict[str, Any]:
        """What the doctor finds on the student's nodes, after a capture if one is asked for; the
        lab goes on meanwhile.
        """
        self._diagnoses += 1
        from lvslab.doctor import gather
        from lvslab.doctor.diagnose import report
        from lvslab.doctor.watch import LabWatch

        names, packets = {each.name for each in student_nodes(self._plan)}, None
        if seconds := float(message.get("capture", 0)):
            with linux.network_of(os.getpid()), LabWatch(self._running, names) as watch:
                time.sleep(seconds)
            packets = watch.packets
        return report(gather.of_lab(self._running, names, packets))


def main(directory: Path, name: str, kernel: str | None, report: int) -> int:
    """Keep a lab until it is stopped; what happens until it stands goes to `report`, a JSON object
    a line.
    """
    reports = os.fdopen(report, "w", buffering=1)

    def say(message: dict[str, Any]) -> None:
        with suppress(OSError, ValueError):  # whoever started it has gone away
            reports.write(json.dumps(message, ensure_ascii=False) + "\n")

    with (directory / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def work() -> int:
            from lvslab.catalog import catalog
            from lvslab.kernels import probe
            from lvslab.kernels.kinds import CHEAPEST
            from lvslab.kernels.needs import Need

            try:
                exercise = load(name)
                kernels = catalog.including(
                    probe.kernels_here(tuple(Need), CHEAPEST.kind), [kernel] if kernel else []
                )
                keeper = Keeper(exercise, plan_exercise(exercise, kernels, kernel), directory)
                listener = listen(directory / "socket")
                keeper.bring_up(lambda text: say({"event": text}))
                (directory / "session.json").write_text(json.dumps({"lab": name}))
                say({"done": True})
            except LvslabError as error:
                say({"error": str(error), "code": int(error.exit_code)})
                return int(error.exit_code)
            reports.close()
            keeper.serve(listener)
            return ExitCode.OK

        code = sandbox.run(work)
        (directory / "session.json").unlink(missing_ok=True)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] or None, int(sys.argv[4])))
