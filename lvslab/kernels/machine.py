"""What every kernel of our own has in common: a description that boots, and a guest that runs.

A kernel (`UmlKernel`, `QemuKernel`) is a frozen description; its `boot` starts a guest, an ordinary
process in a network namespace of its own. Whatever the kind, a guest boots into an initramfs of
ours, sees the host's files read-only below a tmpfs, runs jobs through its agent, and ends by the
power cut of a SIGKILL.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from lvslab.errors import GuestError
from lvslab.host import linux
from lvslab.host.completed import Completed
from lvslab.kernels import confinement, console, guestfiles, initramfs
from lvslab.kernels.agent import Agent

MEMORY_MIB = 128
"""Of a guest, by default. Host memory is taken only as it is used. A kernel sizes its TCP buffers
and its connection tracking by this number.
"""

STOCK_MEMORY_MIB = 256
"""Of one that runs a distribution's kernel, which takes 60 MB for itself."""

_AT_WORK = 0.04
"""Share of a processor below which a guest that boots stands still: its idle ticks take less."""

_MOST_WORK, _MOST_PERIODS = 4, 12
"""Boot timeouts that a guest may take: of its own processor time, and of the clock."""

STREAM_LINES = 8
"""Lines for processes with live output: two for each, so half as many run at once."""


def fingerprint(program: Path, modules: initramfs.ModuleTree, extra_arguments: Sequence[str]) -> str:
    """Changes whenever a kernel's file, its modules or its arguments do."""
    parts = [program.stat(), (modules.directory / "modules.dep").stat()]
    text = "|".join(f"{part.st_size}:{part.st_mtime_ns}:{part.st_ino}" for part in parts)
    return hashlib.sha256("|".join([str(program), text, *extra_arguments]).encode()).hexdigest()[:16]


class Kernel(ABC):
    """A kernel that lvslab can boot. Each kind of them is a class with its entry in `kinds.KINDS`.

    Attributes:
        kind: its kind's name; in `--kernel` it means the installed kernel of that kind.
        title: what its file is, in words.
        file_names: what its file may be called in a directory, first as the catalog calls it.
        companions: files beside it without which it is not whole.
        packages: Debian's packages without which none of its kind boots.
        tried_unasked: whether labs may take it without being told to; not where it is slow.
        memory_mib: of its guests in labs.
        is_stock: whether it is a distribution's, with modules for hardware that no guest has.
        use: of one that `cannot_direct`, the command that takes it; {} is its name.
        modules: its loadable modules.
        extra_arguments: further words for its command line.
    """

    kind: ClassVar[str]
    title: ClassVar[str]
    file_names: ClassVar[tuple[str, ...]]
    companions: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]]
    tried_unasked: ClassVar[bool]
    is_stock: ClassVar[bool]
    memory_mib: ClassVar[int]
    use: ClassVar[str] = "lvslab bench --kernel {}"
    modules: initramfs.ModuleTree
    extra_arguments: tuple[str, ...]

    # -- where one comes from ----------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def installed(cls) -> Kernel:
        """The one that is installed on this machine.

        Raises:
            CannotError: there is none; names the command that gets one.
        """

    @classmethod
    @abstractmethod
    def at(cls, directory: Path, extra_arguments: tuple[str, ...] = ()) -> Kernel:
        """The one in a directory, with one tree of modules below `modules/`.

        Raises:
            CannotError: it is not there, or not whole.
        """

    @classmethod
    @abstractmethod
    def recognises(cls, file: Path) -> bool:
        """Whether a file that can be read is a kernel of this kind.

        Raises:
            UsageError: almost; says what is wrong with it.
        """

    @classmethod
    def release_of(cls, file: Path) -> str | None:
        """The release that a kernel's file itself names, where files of this kind do."""
        return None

    # -- trial -------------------------------------------------------------------------------------

    def prepare_trial(self) -> None:
        """Find out, once for this machine, what every boot of the kind wants to know."""
        return

    def worth_trying(self) -> Kernel | None:
        """This kernel with further arguments that may make it faster and have to prove it, where
        there are any.
        """
        return None

    def proved(self, guest: Guest) -> bool:
        """Whether a running guest shows the use of what was `worth_trying`."""
        return False

    def cannot_direct(self) -> str | None:
        """Why it can be no node of a lab although it boots, or None where it can."""
        return None

    def boot_alone(self, console: Path) -> str:
        """Boot a kernel that `cannot_direct` to its end, with what it needs inside its initramfs.

        Args:
            console: file for what it prints.

        Returns:
            The release that it says it is.

        Raises:
            CannotError: something that the boot needs is missing.
            GuestError: it did not boot, or cannot load IPVS.
        """
        raise NotImplementedError

    # -- identity and boot -------------------------------------------------------------------------

    @property
    @abstractmethod
    def image_file(self) -> Path:
        """The kernel itself: a program or an image."""

    @property
    @abstractmethod
    def config_sha256(self) -> str | None:
        """SHA-256 of its configuration text, or None where it shows none."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """Changes whenever the kernel or its modules do: the key under which trial results are
        kept.
        """

    @abstractmethod
    def boot(
        self,
        name: str,
        modules: Sequence[str],
        directory: Path,
        console_log: Path,
        *,
        memory_mib: int | None = None,
        network: int | None = None,
        nics: int = 2,
    ) -> Guest:
        """Start a guest; its `wait_ready` tells when it is up.

        Args:
            name: the node's.
            modules: kernel modules to load, without their dependencies.
            directory: private to this guest; must not exist yet.
            console_log: file for everything the kernel prints.
            memory_mib: by default what suits the kind.
            network: namespace to boot in, by default a new one. The guest takes the descriptor
                over.
            nics: NICs that the node will have; a few more can be plugged while it runs.

        Raises:
            CannotError: something that the boot needs is missing.
            GuestError: the process could not be started.
        """


def await_work(ready: threading.Event, worked: Callable[[], float], period: float) -> None:
    """Wait for what a process works at, as long as it may still succeed.

    On a busy or slow machine it takes its time, and its own processor time tells: it goes on from
    one period to the next as long as that grows, until it has used more than any boot needs.

    Args:
        worked: processor time that the process has used so far, in seconds.
        period: seconds that the work takes on a machine with a processor to spare.
    """
    before = 0.0
    for _ in range(_MOST_PERIODS):
        if ready.wait(period):
            return
        now = worked()
        if now - before < _AT_WORK * period or now > _MOST_WORK * period:
            return
        before = now


@dataclass(frozen=True)
class Lines:
    """The guest's ends of its lines to the host, as descriptors that its process inherits."""

    agent: int
    terminal: int
    streams: tuple[int, ...]


class Guest(ABC):
    """A running guest in a network namespace of its own.

    Attributes:
        name: the node's name.
        process: what waits for the guest, and ends with it.
        pid: the guest's main process.
        network: descriptor of the network namespace around the guest, which holds the host side of
            its NICs and outlives its kernel.
        share: host folder that the guest sees as `initramfs.SHARE`.
        terminal: host end of the line that the guest sees as `terminal_device`.
        console_log: file with everything the guest's kernel printed.
        boot_timeout: seconds within which it boots on a machine with a processor to spare.
    """

    terminal_device: ClassVar[str]
    boot_timeout: ClassVar[float]

    def __init__(self, name: str, directory: Path, console_log: Path, network: int | None) -> None:
        """Make the lines and the share, and start the process that `_command` describes (arguments
        as for `Kernel.boot`).
        """
        self.name, self.directory, self.console_log = name, directory, console_log
        self.share = directory / "share"
        self.network = confinement.new_network() if network is None else network
        confinement.make_folder(directory)
        self.make_folder()
        self.make_folder("jobs")
        (self.share / "agent.sh").write_bytes(initramfs.guest_script("agent.sh"))
        # No pseudo terminal: the guest's own tty does the line editing, and for a terminal it would
        # start a helper of its own session.
        self.terminal, terminal_there = socket.socketpair()
        agent_here, agent_there = socket.socketpair()
        streams = [socket.socketpair() for _ in range(STREAM_LINES)]
        self._streams = [here for here, _ in streams]
        self._free_lines = list(range(1, STREAM_LINES, 2))
        lines = Lines(
            agent_there.fileno(), terminal_there.fileno(), tuple(there.fileno() for _, there in streams)
        )
        try:
            with console_log.open("wb") as log, linux.inside_network(self.network):
                command, bounds, more = self._command(lines)
                started = confinement.start(
                    command,
                    bounds,
                    network=self.network,
                    descriptors=(lines.agent, lines.terminal, *lines.streams, *more),
                    log=log,
                )
        except BaseException as error:
            for here in (agent_here, self.terminal, *self._streams):
                here.close()
            os.close(self.network)
            linux.unmount(str(directory))
            if isinstance(error, GuestError):
                raise GuestError(f"{name}: {error}; {self.last_words()}") from error
            raise
        finally:
            for there in (agent_there, terminal_there, *(each for _, each in streams)):
                there.close()
            self._started()
        self.process, self.pid, self._handle = started.process, started.pid, started.handle
        self.agent = Agent(name, agent_here, self.share / "jobs", self.last_words)
        threading.Thread(target=self._watch, name=f"watch-{name}", daemon=True).start()

    @abstractmethod
    def _command(self, lines: Lines) -> tuple[list[str], confinement.Bounds, Sequence[int]]:
        """The process to start, what it may reach, and further descriptors that it inherits; called
        inside the guest's network namespace.
        """

    def _started(self) -> None:
        """The process runs, or could not be started: release what only it needs."""
        return

    def _watch(self) -> None:
        """Tell the agent when the kernel's process ends: its programs' processes may hold the line
        open a little longer.
        """
        self.process.wait()
        self._ended()
        self.agent.lose()

    def _ended(self) -> None:
        """The process has ended: let go what was borrowed from it; may be called twice."""
        return

    # -- boot --------------------------------------------------------------------------------------

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until the guest runs jobs: `timeout` seconds or, by default, for as long as it works
        at it.

        Raises:
            GuestError: it died, panicked, could not set itself up, or was not ready in time.
        """
        if timeout is not None:
            self.agent.wait_ready(time.monotonic() + timeout)
            return
        began = time.monotonic()
        await_work(self.agent.ready, self.cpu_seconds, self.boot_timeout)
        self.agent.check_ready(time.monotonic() - began)

    def last_words(self) -> str:
        """Why the guest is gone, as far as its console tells; one line."""
        return console.last_words(self.console_log)

    # -- files ------------------------------------------------------------------------------------

    def make_folder(self, name: str = "") -> Path:
        """A folder in the share in which the guest may write, made where it is not there yet."""
        path = self.share / name
        guestfiles.make_folder(path)
        confinement.give(path)
        return path

    # -- work --------------------------------------------------------------------------------------

    def run(self, script: str, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script in the guest to its end (see `Agent.run`)."""
        return self.agent.run(script, timeout)

    @abstractmethod
    def plug(self, interfaces: Sequence[tuple[str, str]]) -> list[str]:
        """Join veths of the guest's namespace, each (name, MAC address), to new NICs in the guest.

        Returns:
            Lines for `ip -batch` in the guest, which name the NICs like their veths and bring them
            up.

        Raises:
            GuestError: the guest refused a NIC.
        """

    @abstractmethod
    def tune_nics(self) -> None:
        """Make room behind the NICs that are up, where the kind needs it."""

    def take_line(self) -> tuple[int, socket.socket, socket.socket]:
        """A free pair of lines: the first one's number, its host end (in and out), and the host end
        of the second (error).

        Raises:
            GuestError: all are in use.
        """
        if not self._free_lines:
            raise GuestError(
                f"{self.name}: {STREAM_LINES // 2} processes with live output already run in this guest; end"
                " one first"
            )
        line = self._free_lines.pop(0)
        return line, self._streams[line - 1], self._streams[line]

    def return_line(self, line: int) -> None:
        """Give a pair of lines back."""
        self._free_lines.append(line)

    def cpu_seconds(self) -> float:
        """Processor time that the guest has used so far: its kernel and, where it runs them in
        processes of their own, its programs.
        """
        return linux.processor_seconds(self.pid)

    def waited_seconds(self) -> dict[int, float]:
        """Process → seconds that it has waited for a processor so far, of the guest's kernel and,
        where it runs them in processes of their own, its programs.
        """
        return {pid: linux.waited_seconds(pid) for pid in (self.pid, *linux.children_of(self.pid))}

    # -- end ---------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def send_signal(self, number: signal.Signals) -> bool:
        """Send a signal to the guest's main process; returns whether it was still there."""
        try:
            signal.pidfd_send_signal(self._handle, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> None:
        """Cut the power: end the guest's kernel and everything in it at once."""
        self.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Cut the power and release what belongs to the guest."""
        self.kill()
        self._ended()
        self.agent.close()
        for line in (self.terminal, *self._streams):
            line.close()
        os.close(self.network)
        os.close(self._handle)
        linux.unmount(str(self.directory))

    def freeze(self) -> None:
        """Stop the guest's kernel where it stands (SIGSTOP): nothing in it runs until `thaw`; its
        programs run only when it lets them.
        """
        self.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen guest go on."""
        self.send_signal(signal.SIGCONT)

    @property
    def frozen(self) -> bool:
        """Whether the guest's kernel is stopped, as the machine's own kernel sees it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False
