"""A program of its own: keeps one training lab running in the background and does what
`lvslab train …` asks of it.

The lab belongs to the main thread, which works off one request at a time; shells and questions
about the state run beside it.
"""

from __future__ import annotations

import fcntl
import itertools
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
from lvslab.training import belongings, exam, ledger, nodes, scripts, shells, tables
from lvslab.training.exercise import Exercise, load
from lvslab.training.line import Line, listen
from lvslab.training.network import plan_exercise
from lvslab.training.nodes import named, student_nodes
from lvslab.training.session import Order

_LOOK = 0.5
"""Seconds between looks at whether a guest has died."""

_SCRIPT_SECONDS = 120.0
_ANSWER_SECONDS = 2.0
_MOST_COMMANDS, _LONGEST_COMMAND = 20_000, 1000
"""What is recorded of what students type."""


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
        place = directory.parent
        self._records = ledger.folder(place, exercise.name)
        self._kept = self._records / "belongings"
        self._students = [node.name for node in student_nodes(plan)]
        self._ledger = ledger.Ledger(self._records / ledger.FILE, ledger.key_of(place))
        self._shells: dict[str, shells.Shell] = {}
        self._numbers = itertools.count(1)
        self._commands: list[dict[str, Any]] = []
        self._told: list[str] = []
        self._noting = threading.Lock()
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
        damaged = belongings.bring_back(self._running, self._students, self._kept)
        self._note("started", **({"lost": damaged} if damaged else {}))

    def _note(self, what: str, **facts: Any) -> None:
        with self._noting:
            self._ledger.note(what, **facts)

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
        beside = {
            "status": self._status,
            "hint": self._hint,
            "advise": self._advise,
            "diagnose": self._diagnose,
            "tables": self._tables,
        }
        in_turn = {
            "check": self._check,
            "glance": self._glance,
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
        elif verb in ("shell", "attach"):
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
        """Join a line to a shell: a new one on a node, which ends with its line unless it is to
        last, or one that runs, which takes the line's size if that has one.
        """
        if message["do"] == "attach":
            shell = self._shells.get(str(message.get("shell")))
            if shell is None or not shell.runs:
                raise UsageError(f"lab '{self._exercise.name}': shell '{message.get('shell')}' has ended")
            if "rows" in message and not message.get("read_only"):
                shell.resize(int(message["rows"]), int(message["columns"]))
        else:
            shell = self._open_shell(message)
        line.send({"done": {"node": shell.node.name, "shell": shell.name}})
        shells.serve(shell, line, read_only=bool(message.get("read_only")))
        if message["do"] == "shell" and not message.get("lasting"):
            shell.kill()

    def _open_shell(self, message: dict[str, Any]) -> shells.Shell:
        node = self._student_node(message)
        guest = self._running.node(node)
        guest.guest.agent.check_alive()
        name = f"{node}.{next(self._numbers)}"
        size = int(message["rows"]), int(message["columns"])

        def hear(command: str) -> None:
            if len(self._commands) >= _MOST_COMMANDS:
                return
            said = {"node": node, "shell": name, "command": command[:_LONGEST_COMMAND]}
            self._commands.append({"at": time.time(), **said})
            self._note("command", **said)

        record = self._records / f"{int(time.time())}.{name}.cast"
        self._shells[name] = shells.Shell(guest, name, size, str(message["terminal"]), record, hear)
        return self._shells[name]

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
            "advised": len(self._told),
            "commands": len(self._commands),
            "last": self._commands[-1] if self._commands else None,
            "shells": [
                {"name": each.name, "node": each.node.name} for each in self._shells.values() if each.runs
            ],
            "vip": self._plan.addresses.vip,
            "networks": dict(self._plan.networks),
            "nodes": nodes.told(lab, self._plan),
        }

    def _tables(self, message: dict[str, Any]) -> dict[str, Any]:
        return {"tables": tables.tables(self._running, self._plan)}

    def _hint(self, message: dict[str, Any]) -> dict[str, Any]:
        hints = self._exercise.hints
        if self._hints < len(hints):
            self._hints += 1
            self._note("hint", text=hints[self._hints - 1])
        return {"hints": list(hints[: self._hints]), "of": len(hints)}

    def _advise(self, message: dict[str, Any]) -> dict[str, Any]:
        """One more hint: what the doctor finds now and has not been said yet, else the exercise's
        own next one.
        """
        found = [str(finding["reason"]) for finding in self._found(0.0)["findings"]]
        fresh = next((sentence for sentence in found if sentence not in self._told), None)
        if fresh is not None:
            self._told.append(fresh)
            self._note("hint", text=fresh, doctor=True)
        else:
            self._hint(message)
        return {
            "now": [sentence for sentence in found if sentence in self._told],
            "hints": list(self._exercise.hints[: self._hints]),
            "of": len(self._exercise.hints),
        }

    def _take(self, *, quiet: bool) -> exam.Exam:
        with tempfile.TemporaryDirectory(prefix="check-", dir=self._directory) as there:
            with mistakes_in(self._exercise.file):
                return exam.take(self._exercise.check, exam.Exam(self._running, Path(there), quiet=quiet))

    def _check(self, tell: Callable[[str], None]) -> dict[str, Any]:
        return self._judged(self._take(quiet=False))

    def _glance(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """The part of the exam that leaves the network alone; where that is all, it counts."""
        held = self._take(quiet=True)
        whole = held.passed and not held.held_back
        if whole and not (self._checks and self._checks[-1]):
            return self._judged(held)
        return {**_told(held), "passed": whole}

    def _judged(self, held: exam.Exam) -> dict[str, Any]:
        noted = held.passed and not self._solved
        self._checks.append(held.passed)
        points = [[point.name, point.verdict] for point in held.points]
        self._note("check", passed=held.passed, points=points, solved=self._solved)
        if noted:
            self._note("passed")
        return {**_told(held), "noted": noted}

    def _solve(self, tell: Callable[[str], None]) -> dict[str, Any]:
        self._solved = True
        self._note("solution")
        scripts.solve(self._exercise, self._running, tell)
        return {"solution": dict(self._exercise.solution)}

    def _reset(self, tell: Callable[[str], None]) -> dict[str, Any]:
        self._stack.close()
        belongings.forget(self._kept)
        self._note("reset")
        self._shells.clear()
        self._told.clear()
        self._hints, self._solved, self._checks, self._diagnoses = 0, False, [], 0
        try:
            self.bring_up(tell)
        except BaseException:
            self._leaving = True
            raise
        return {}

    def _stop(self, tell: Callable[[str], None]) -> dict[str, Any]:
        self._leaving = True
        on = [name for name in self._students if self._running.is_on(name)]
        lost = belongings.keep(self._running, on, self._kept)
        self._stack.close()
        self._note("stopped", **({"lost": lost} if lost else {}))
        return {"lost": lost}

    def _diagnose(self, message: dict[str, Any]) -> dict[str, Any]:
        """What the doctor finds on the student's nodes, after a capture if one is asked for; the
        lab goes on meanwhile.
        """
        self._diagnoses += 1
        return self._found(float(message.get("capture", 0)))

    def _found(self, seconds: float) -> dict[str, Any]:
        from lvslab.doctor import gather
        from lvslab.doctor.diagnose import report
        from lvslab.doctor.watch import LabWatch

        names, packets = {each.name for each in student_nodes(self._plan)}, None
        if seconds:
            with linux.network_of(os.getpid()), LabWatch(self._running, names) as watch:
                time.sleep(seconds)
            packets = watch.packets
        return report(gather.of_lab(self._running, names, packets))


def _told(held: exam.Exam) -> dict[str, Any]:
    return {
        "passed": held.passed,
        "held_back": held.held_back,
        "points": [
            {"name": point.name, "verdict": point.verdict, "reason": point.reason} for point in held.points
        ],
    }


def main(directory: Path, report: int) -> int:
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
                order = Order.read(directory / "order.json")
                exercise = load(order.lab, order.values)
                kernels = catalog.including(
                    probe.kernels_here(tuple(Need), CHEAPEST.kind), [order.kernel] if order.kernel else []
                )
                plan = plan_exercise(exercise, kernels, order.kernel, order.values)
                keeper = Keeper(exercise, plan, directory)
                listener = listen(directory / "socket")
                keeper.bring_up(lambda text: say({"event": text}))
                (directory / "session.json").write_text(json.dumps({"lab": order.lab}))
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
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
