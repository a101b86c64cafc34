"""Running training labs, as the command line sees them: each has a directory, and a keeper process
that holds its lock.

    <state>/train/<name>/lock         held as long as the keeper lives
                         socket       where it listens (lvslab.training.line)
                         session.json what it keeps
                         order.json   what it was told to keep (`Order`)
                         keeper.log   what it printed, guests' consoles beside it
    <state>/train/.records/<lab>/     what was done in a lab and the transcripts of its shells
                                      (lvslab.training.ledger), also when it has ended
    <state>/train/.key                signs those records

<state> is $XDG_STATE_HOME/lvslab, or ~/.local/state/lvslab.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lvslab.errors import CannotError, GuestError, LabError, LvslabError, UsageError
from lvslab.exitcodes import ExitCode
from lvslab.training import ledger
from lvslab.training.line import Line, connect
from lvslab.training.values import AS_WRITTEN, Values

_STOP_SECONDS = 30.0


def training_directory() -> Path:
    """Where all that belongs to training labs is kept."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "lvslab" / "train"


def state_directory() -> Path:
    """Where running labs and their records are kept: those of the course that is being worked on,
    if there is one (lvslab.training.ticket).
    """
    root = training_directory()
    try:
        return root / ".courses" / (root / ".course").read_text().strip()
    except FileNotFoundError:
        return root


@dataclass(frozen=True)
class Order:
    """What a keeper is to keep.

    Attributes:
        lab: an exercise's name, or its file.
        kernel: of the directors, as `--kernel` takes it.
        values: that the lab has instead of those in its file.
    """

    lab: str
    kernel: str | None = None
    values: Values = AS_WRITTEN

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Order:
        told = json.loads(file.read_text())
        return cls(told["lab"], told["kernel"], Values(**told["values"]))


@dataclass(frozen=True)
class Session:
    """A training lab that was started.

    Attributes:
        name: of the session; the lab's own if the user gave none.
        lab: what is practised, a name or a file.
    """

    name: str
    lab: str
    directory: Path

    @property
    def runs(self) -> bool:
        """Whether its keeper lives."""
        try:
            with (self.directory / "lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def line(self) -> Line:
        """A line to the keeper.

        Raises:
            LabError: it does not live any more; says where its log is.
        """
        try:
            return connect(self.directory / "socket")
        except OSError as error:
            raise LabError(
                f"lab '{self.name}': its keeper is gone ({error.strerror}); log:"
                f" {self.directory / 'keeper.log'}; start again: lvslab train start {self.lab}"
            ) from error

    def ask(self, request: dict[str, Any], tell: Callable[[str], None] = lambda text: None) -> Any:
        """Have the keeper do something, and wait for the answer.

        Args:
            tell: hears what happens meanwhile.

        Raises:
            LvslabError: what the keeper says went wrong.
        """
        line = self.line()
        try:
            line.send(request)
            return answer(line, tell, self)
        finally:
            line.close()


def answer(line: Line, tell: Callable[[str], None], session: Session) -> Any:
    """Read a line to the answer proper.

    Raises:
        LvslabError: what the keeper says went wrong, with its exit code.
    """
    while True:
        try:
            message = line.receive()
        except (OSError, ValueError) as error:
            raise LabError(f"lab '{session.name}': the line to its keeper broke: {error}") from error
        if message is None:
            raise LabError(f"lab '{session.name}': its keeper ended; log: {session.directory / 'keeper.log'}")
        if "event" in message:
            tell(message["event"])
        elif "error" in message:
            raise _error(message["error"], message["code"])
        else:
            return message["done"]


def _error(text: str, code: int) -> LvslabError:
    kinds = {ExitCode.USAGE: UsageError, ExitCode.CANNOT: CannotError}
    return kinds.get(ExitCode(code), GuestError)(text)


def sessions(place: Path | None = None) -> list[Session]:
    """All that run, by name.

    Args:
        place: whose; those of `state_directory()` if not given.
    """
    found = []
    for file in sorted((place or state_directory()).glob("*/session.json")):
        try:
            session = Session(file.parent.name, json.loads(file.read_text())["lab"], file.parent)
        except (OSError, ValueError, KeyError):
            continue
        if session.runs:
            found.append(session)
    return found


def the_session(name: str | None) -> Session:
    """The session that is meant: by name, or the only one.

    Raises:
        UsageError: none runs, or several do and none was named.
    """
    running = {session.name: session for session in sessions()}
    if name is not None:
        name = next((each for each in running if each.replace("_", "-") == name.replace("_", "-")), name)
        if name not in running:
            others = f"; running: {', '.join(running)}" if running else ""
            from lvslab.training.exercise import shipped

            start = f"train start {name}" if name in shipped() else "train list"
            raise UsageError(f"lab '{name}': is not running{others}; see: lvslab {start}")
        return running[name]
    if not running:
        raise UsageError(
            "no training lab is running; `lvslab train list` shows them, `lvslab train start LAB` starts one"
        )
    if len(running) > 1:
        raise UsageError(f"several labs are running: {', '.join(running)}; say which: --name NAME")
    return next(iter(running.values()))


def start(
    order: Order, name: str, tell: Callable[[str], None] = lambda text: None, place: Path | None = None
) -> Session:
    """Start a lab in the background.

    Args:
        name: of the session.
        place: where it is kept; `state_directory()` if not given.

    Raises:
        UsageError: a lab of this name runs already.
        LvslabError: it did not come up.
    """
    directory = (place or state_directory()) / name
    session = Session(name, order.lab, directory)
    if session.runs:
        raise UsageError(
            f"lab '{name}': is running already; stop it first (lvslab train stop --name {name}), or give"
            " --name"
        )
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    order.write(directory / "order.json")
    read, write = os.pipe()
    with (directory / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "lvslab.training.keeper", str(directory), str(write)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a closed terminal does not end it
            pass_fds=[write],
        )
    os.close(write)
    try:
        return _wait_for(read, session, tell)
    except BaseException:
        keeper.terminate()
        keeper.wait()
        raise


def _wait_for(read: int, session: Session, tell: Callable[[str], None]) -> Session:
    with os.fdopen(read) as reports:
        for text in reports:
            message = json.loads(text)
            if "event" in message:
                tell(message["event"])
            elif "error" in message:
                raise _error(message["error"], message["code"])
            else:
                return session
    log = (session.directory / "keeper.log").read_text(errors="replace").strip().splitlines()
    raise LabError(
        f"lab '{session.name}': did not start: {log[-1] if log else 'its keeper ended without a word'}"
    )


def passed(place: Path | None = None) -> set[str]:
    """Names of the labs that were passed once."""
    accounts = ledger.accounts(place or state_directory())
    return {
        lab for lab, account in accounts.items() if any(event.what == "passed" for event in account.events)
    }


def stop(session: Session) -> list[str]:
    """Stop a lab and wait until its keeper is gone.

    Returns:
        Nodes whose files could not be kept (`lvslab.training.belongings`).

    Raises:
        LabError: it does not end.
    """
    lost: list[str] = session.ask({"do": "stop"})["lost"]
    deadline = time.monotonic() + _STOP_SECONDS
    while session.runs:
        if time.monotonic() > deadline:
            raise LabError(
                f"lab '{session.name}': its keeper does not end; log: {session.directory / 'keeper.log'}"
            )
        time.sleep(0.02)
    shutil.rmtree(session.directory, ignore_errors=True)
    return lost


def shell(session: Session, node: str) -> int:
    """Join this terminal to a new shell on a node; returns the shell's exit status.

    Raises:
        UsageError: there is no such node.
        LabError: the shell could not be started.
    """
    from lvslab.training import terminal

    line = session.line()
    try:
        rows, columns = terminal.window()
        line.send(
            {
                "do": "shell",
                "node": node,
                "rows": rows,
                "columns": columns,
                "terminal": os.environ.get("TERM", "vt100"),
            }
        )
        answer(line, lambda text: None, session)
        return terminal.join(line)
    finally:
        line.close()
