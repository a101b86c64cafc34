"""User-Mode Linux: a kernel as an ordinary process, without KVM and without root.

Facts about its arguments: Documentation/virt/uml/user_mode_linux_howto_v2.rst. A guest boots into an initramfs of ours, overlays the host's
file system (read-only, nosuid) with a tmpfs, and starts the agent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lvslab.completed import Completed
from lvslab.errors import CannotError, GuestError
from lvslab.kernels import initramfs, sockets
from lvslab.kernels.agent import Agent
from lvslab.kernels.mconsole import ManagementConsole
from lvslab.network import linux

MEMORY_MIB = 128
"""Host memory is taken only as it is used. A kernel sizes its TCP buffers and its connection tracking by this number."""

BOOT_TIMEOUT = 30.0
"""Seconds until a guest that is not ready counts as hung; a loaded 2-core machine needs about 2."""

STREAM_LINES = 8
"""Serial lines for processes with live output: two for each, so half as many run at once."""

_LOOPS_PER_JIFFY = 36216832
"""Given instead of measured, which saves the calibration; only busy-wait delays of drivers that a guest does not have depend on it."""

_EARLY_TICKS = 600
_EARLY_TICK_SECONDS = 0.0005


@dataclass(frozen=True)
class UmlKernel:
    """A User-Mode Linux binary and its modules.

    Attributes:
        extra_arguments: further words for its command line, which make it faster.
    """

    binary: Path
    modules: initramfs.ModuleTree
    extra_arguments: tuple[str, ...] = ()

    @classmethod
    def find(cls) -> UmlKernel:
        """The one that Debian's user-mode-linux package installs.

        Raises:
            CannotError: it is not installed, or its modules are not.
        """
        binary = shutil.which("linux.uml") or shutil.which("linux.uml", path="/usr/bin:/usr/local/bin")
        if not binary:
            raise CannotError("linux.uml: not installed; run: apt-get install user-mode-linux")
        trees = sorted(Path("/usr/lib/uml/modules").glob("*/modules.dep"))
        if not trees:
            raise CannotError("/usr/lib/uml/modules: no kernel modules; run: apt-get install --reinstall user-mode-linux")
        return cls(Path(binary), initramfs.ModuleTree(trees[-1].parent))

    @classmethod
    def at(cls, directory: Path, extra_arguments: tuple[str, ...] = ()) -> UmlKernel:
        """The one in a directory: the program `linux.uml`, and one tree of modules below `modules/`.

        Raises:
            CannotError: the program or its modules are not there.
        """
        binary, trees = directory / "linux.uml", sorted((directory / "modules").glob("*/modules.dep"))
        if not binary.is_file() or len(trees) != 1:
            raise CannotError(f"{directory}: not a whole kernel: needs the program linux.uml and one tree modules/RELEASE")
        return cls(binary, initramfs.ModuleTree(trees[0].parent), extra_arguments)

    @cached_property
    def config_sha256(self) -> str | None:
        """SHA-256 of the configuration that the binary itself prints, or None if it prints none."""
        shown = subprocess.run([self.binary, "--showconfig"], capture_output=True, timeout=30, check=False)
        return hashlib.sha256(shown.stdout).hexdigest() if shown.returncode == 0 and shown.stdout else None

    @property
    def identity(self) -> str:
        """Changes whenever the binary or its modules do: the key under which trial results are kept."""
        parts = [self.binary.stat(), (self.modules.directory / "modules.dep").stat()]
        text = "|".join(f"{part.st_size}:{part.st_mtime_ns}:{part.st_ino}" for part in parts)
        return hashlib.sha256("|".join([str(self.binary), text, *self.extra_arguments]).encode()).hexdigest()[:16]


def arguments(
    kernel: UmlKernel,
    name: str,
    *,
    memory_mib: int,
    directory: Path,
    image: Path,
    modules: Sequence[str],
    agent_fd: int,
    console_fd: int,
    stream_fds: Sequence[int],
) -> list[str]:
    """The command line of a guest.

    Its console goes to standard output (a log file), tty1 to an interactive shell, ttyS0 to the agent, the further serial lines to
    processes with live output. Network interfaces are added after boot, through the management console.
    """
    return [
        str(kernel.binary),
        f"mem={memory_mib}M",
        f"umid={name}",
        f"uml_dir={directory}/uml/",
        f"initrd={image}",
        "con=null",
        "con0=fd:0,fd:1",
        f"con1=fd:{console_fd},fd:{console_fd}",
        "ssl=null",
        f"ssl0=fd:{agent_fd},fd:{agent_fd}",
        *(f"ssl{number}=fd:{fd},fd:{fd}" for number, fd in enumerate(stream_fds, start=1)),
        f"lpj={_LOOPS_PER_JIFFY}",
        "panic=-1",  # a panic ends the process, so that it is noticed
        "quiet",
        f"LVSLAB_MODULES={','.join(modules)}",
        *kernel.extra_arguments,
    ]


class UmlGuest:
    """A running guest in a network namespace of its own.

    Attributes:
        name: the node's name.
        pid: the guest's main process.
        network: descriptor of the network namespace around the guest, which holds the host side of its NICs and outlives its kernel.
        share: host folder that the guest sees as `initramfs.SHARE`.
        terminal: host end of the line that the guest sees as tty1.
        console_log: file with everything the guest's kernel printed.
    """

    def __init__(
        self,
        kernel: UmlKernel,
        name: str,
        modules: Sequence[str],
        directory: Path,
        console_log: Path,
        memory_mib: int = MEMORY_MIB,
        network: int | None = None,
    ) -> None:
        """Start booting; `wait_ready` tells when it is up.

        Args:
            directory: private to this guest; must not exist yet.
            network: namespace to boot in, by default a new one. The guest takes the descriptor over.

        Raises:
            CannotError: a file that the boot needs is missing.
            GuestError: the process could not be started.
        """
        self.name, self.console_log, self._kernel = name, console_log, kernel
        self.share = directory / "share"
        self.share.mkdir(parents=True)
        (directory / "uml").mkdir()
        busybox = initramfs.static_busybox()
        (self.share / "agent.sh").write_bytes(initramfs.guest_script("agent.sh"))
        image = directory / "initramfs.cpio"
        image.write_bytes(initramfs.build(kernel.modules, ["overlay", *modules], self.share, busybox))
        self._mconsole_path = directory / "uml" / name / "mconsole"
        self._nics = 0
        # No pseudo terminal: the guest's own tty does the line editing, and for a terminal it would start a helper of its own session.
        self.terminal, terminal_there = socket.socketpair()
        agent_here, agent_there = socket.socketpair()
        streams = [socket.socketpair() for _ in range(STREAM_LINES)]
        self._streams = [here for here, _ in streams]
        self._free_lines = list(range(1, STREAM_LINES, 2))
        passed = [agent_there.fileno(), terminal_there.fileno(), *(there.fileno() for _, there in streams)]
        command = arguments(
            kernel,
            name,
            memory_mib=memory_mib,
            directory=directory,
            image=image,
            modules=["overlay", *modules],
            agent_fd=passed[0],
            console_fd=passed[1],
            stream_fds=passed[2:],
        )
        self.network = linux.new_network() if network is None else network
        try:
            with console_log.open("wb") as log, linux.inside_network(self.network):
                # mnexec, Mininet's own tool: a session of its own, so that the group can be ended whole
                self.process = subprocess.Popen(
                    ["mnexec", "-d", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=passed,
                    env={"PATH": os.defpath, "HOME": "/root", "TMPDIR": "/dev/shm"},
                )
        except FileNotFoundError as error:
            raise CannotError("mnexec: not installed; run: apt-get install --no-install-recommends mininet") from error
        finally:
            for there in (agent_there, terminal_there, *(each for _, each in streams)):
                there.close()
        self.pid = self.process.pid
        self.agent = Agent(name, agent_here, self.share / "jobs", self.last_words)
        threading.Thread(target=self._hasten, name=f"boot-{name}", daemon=True).start()
        threading.Thread(target=self._watch, name=f"watch-{name}", daemon=True).start()

    def _watch(self) -> None:
        """Tell the agent when the kernel's process ends: its programs' processes may hold the line open a little longer."""
        self.process.wait()
        self.agent.lose()

    # -- boot --------------------------------------------------------------------------------------------------------------------

    def _hasten(self) -> None:
        """Make early boot's timer ticks pass faster.

        Debian's kernel compares RAID6 algorithms for 85 ticks of the clock. A tick is a SIGALRM, so sending some makes the wait pass;
        only once the kernel catches the signal, only until process 1 speaks, and only so many.
        """
        start = time.monotonic()
        while not self._catches_ticks():
            if self.process.poll() is not None or time.monotonic() - start > 5:
                return
            time.sleep(0.002)
        time.sleep(0.015)  # the handler is installed a little before the kernel can take a tick
        for _ in range(_EARLY_TICKS):
            if self.agent.began.is_set() or self.process.poll() is not None:
                return
            os.kill(self.pid, signal.SIGALRM)
            time.sleep(_EARLY_TICK_SECONDS)

    def _catches_ticks(self) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
        return bool(int(caught, 16) >> (signal.SIGALRM - 1) & 1)

    def wait_ready(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Wait until the guest runs jobs.

        Raises:
            GuestError: it died, panicked, could not set itself up, or was not ready within `timeout` seconds.
        """
        self.agent.wait_ready(time.monotonic() + timeout)

    def last_words(self) -> str:
        """Why the guest is gone, as far as its console tells; one line."""
        try:
            lines = [line.strip() for line in self.console_log.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        panic = next((line for line in lines if "panic" in line.lower()), None)
        said = f"it said: {panic or lines[-1]}" if lines else "its console is empty"
        return f"{said} (console: {self.console_log})"

    # -- work --------------------------------------------------------------------------------------------------------------------

    def run(self, script: str, timeout: float = 30.0) -> Completed:
        """Run a /bin/sh script in the guest to its end (see `Agent.run`)."""
        return self.agent.run(script, timeout)

    def plug(self, interfaces: Sequence[tuple[str, str]]) -> list[str]:
        """Join veths of the guest's namespace, each (name, MAC address), to new NICs in the guest.

        Returns:
            Lines for `ip -batch` in the guest, which name the NICs like their veths and bring them up.

        Raises:
            GuestError: the guest refused a NIC.
        """
        lines = []
        with ManagementConsole(self.name, self._mconsole_path) as console:
            for interface, mac in interfaces:
                nic = f"vec{self._nics}"
                console(f"config {nic}:transport=raw,ifname={interface},mac={mac},depth=64,gro=1")
                lines.append(f"link set {nic} name {interface} up")
                self._nics += 1
        return lines

    def tune_nics(self) -> None:
        """Make room in the packet sockets behind the NICs that are up."""
        sockets.tune(self.pid)

    def take_line(self) -> tuple[int, socket.socket, socket.socket]:
        """A free pair of serial lines: the first one's number, its host end (in and out), and the host end of the second (error).

        Raises:
            GuestError: all are in use.
        """
        if not self._free_lines:
            raise GuestError(
                f"{self.name}: {STREAM_LINES // 2} processes with live output already run in this guest; end one first"
            )
        line = self._free_lines.pop(0)
        return line, self._streams[line - 1], self._streams[line]

    def return_line(self, line: int) -> None:
        """Give a pair of serial lines back."""
        self._free_lines.append(line)

    def cpu_seconds(self) -> float:
        """Processor time that the guest has used so far: its kernel and, where it runs them in processes of their own, its programs."""
        ticks = 0
        for pid in (self.pid, *_children(self.pid)):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    # -- end ---------------------------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Cut the power: end the guest's kernel and everything in it at once."""
        if self.alive:
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Cut the power and release what belongs to the guest."""
        self.kill()
        self.agent.close()
        for line in (self.terminal, *self._streams):
            line.close()
        os.close(self.network)

    def freeze(self) -> None:
        """Stop the guest's kernel where it stands (SIGSTOP): nothing in it runs until `thaw`; its programs run only when it lets them."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen guest go on."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def frozen(self) -> bool:
        """Whether the guest's kernel is stopped, as the machine's own kernel sees it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
