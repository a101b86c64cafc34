"""User-Mode Linux: a kernel as an ordinary process, without KVM and without root.

Facts about its arguments: Documentation/virt/uml/user_mode_linux_howto_v2.rst. A guest boots into
an initramfs of ours, overlays the host's file system (read-only, nosuid) with a tmpfs, and starts
the agent.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from lvslab.errors import CannotError
from lvslab.host import linux
from lvslab.host.distribution import advice
from lvslab.kernels import initramfs, registers, sockets, umlfile
from lvslab.kernels.confinement import Bounds, give
from lvslab.kernels.machine import MEMORY_MIB, Guest, Kernel, Lines, fingerprint
from lvslab.kernels.mconsole import ManagementConsole
from lvslab.kernels.registers import preloading
from lvslab.kernels.waking import Waker

_LOOPS_PER_JIFFY = 36216832
"""Given instead of measured, which saves the calibration; only busy-wait delays of drivers that a
guest does not have depend on it.
"""

_SECCOMP = "seccomp=on"
"""Lets programs in the guest run under a seccomp filter instead of ptrace, which is faster; known
since 6.16, ignored before (arch/um/os-Linux/start_up.c).
"""

_EARLY_TICKS = 600
_EARLY_TICK_SECONDS = 0.0005
_PATIENCE_SECONDS = 5.0

_TIMER_SETUP_NS = 30_000_000
"""Processor time that a guest gets, once it catches SIGALRM, before the first early tick.

Between catching the signal (`time_init`) and being able to take it (the end of `um_timer_setup`,
arch/um/kernel/time.c) a kernel calls a handler that is not there yet: a tick in between is its
death, "Segfault with no mm". The way takes a few milliseconds of its own time, which on a busy
machine may be any time of the clock. The RAID6 comparison behind it burns 850 ms.
"""


@dataclass(frozen=True)
class UmlKernel(Kernel):
    """A User-Mode Linux binary and its modules.

    Attributes:
        extra_arguments: further words for its command line, which make it faster.
    """

    binary: Path
    modules: initramfs.ModuleTree
    extra_arguments: tuple[str, ...] = ()

    kind = "uml"
    title = "User-Mode Linux program"
    file_names = ("linux.uml", "linux")
    packages = ("user-mode-linux", "busybox-static")
    tried_unasked = True
    is_stock = False
    memory_mib = MEMORY_MIB

    @classmethod
    def installed(cls) -> UmlKernel:
        """The one that Debian's user-mode-linux package installs.

        Raises:
            CannotError: it is not installed, or its modules are not.
        """
        binary = shutil.which("linux.uml") or shutil.which("linux.uml", path="/usr/bin:/usr/local/bin")
        if not binary:
            raise CannotError(f"linux.uml: not installed; {advice('user-mode-linux')}")
        trees = sorted(Path("/usr/lib/uml/modules").glob("*/modules.dep"))
        if not trees:
            raise CannotError(
                "/usr/lib/uml/modules: no kernel modules; run: apt-get install --reinstall user-mode-linux"
            )
        return cls(Path(binary), initramfs.ModuleTree(trees[-1].parent))

    @classmethod
    def at(cls, directory: Path, extra_arguments: tuple[str, ...] = ()) -> UmlKernel:
        """The one in a directory: the program `linux.uml`, and one tree of modules below
        `modules/`.

        Raises:
            CannotError: the program or its modules are not there.
        """
        binary, trees = directory / "linux.uml", sorted((directory / "modules").glob("*/modules.dep"))
        if not binary.is_file() or len(trees) != 1:
            raise CannotError(
                f"{directory}: not a whole kernel: needs the program linux.uml and one tree modules/RELEASE"
            )
        return cls(binary, initramfs.ModuleTree(trees[0].parent), extra_arguments)

    @classmethod
    def recognises(cls, file: Path) -> bool:
        """See `Kernel.recognises`."""
        return umlfile.is_program(file)

    def worth_trying(self) -> UmlKernel:
        """The same with seccomp in place of ptrace."""
        return replace(self, extra_arguments=(*self.extra_arguments, _SECCOMP))

    def proved(self, guest: Guest) -> bool:
        """Whether the guest's programs run without ptrace: it has processes for them, and traces
        none.
        """
        try:
            texts = [Path(f"/proc/{child}/status").read_text() for child in linux.children_of(guest.pid)]
        except OSError:
            return False
        return bool(texts) and all("\nTracerPid:\t0\n" in text for text in texts)

    @property
    def image_file(self) -> Path:
        """See `Kernel.image_file`."""
        return self.binary

    @cached_property
    def config_sha256(self) -> str | None:
        """SHA-256 of the configuration that the binary itself prints, or None if it prints none."""
        shown = subprocess.run([self.binary, "--showconfig"], capture_output=True, timeout=30, check=False)
        return hashlib.sha256(shown.stdout).hexdigest() if shown.returncode == 0 and shown.stdout else None

    @property
    def identity(self) -> str:
        """Changes whenever the binary or its modules do: the key under which trial results are
        kept.
        """
        return fingerprint(self.binary, self.modules, self.extra_arguments)

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
    ) -> UmlGuest:
        """See `Kernel.boot`; any number of NICs can be plugged."""
        return UmlGuest(self, name, modules, directory, console_log, memory_mib or self.memory_mib, network)


def arguments(
    kernel: UmlKernel,
    name: str,
    *,
    memory_mib: int,
    directory: Path,
    image: Path,
    modules: Sequence[str],
    lines: Lines,
) -> list[str]:
    """The command line of a guest.

    Its console goes to standard output (a log file), tty1 to an interactive shell, ttyS0 to the
    agent, the further serial lines to processes with live output. Network interfaces are added
    after boot, through the management console.
    """
    return [
        str(kernel.binary),
        f"mem={memory_mib}M",
        f"umid={name}",
        f"uml_dir={directory}/uml/",
        f"initrd={image}",
        "con=null",
        "con0=fd:0,fd:1",
        f"con1=fd:{lines.terminal},fd:{lines.terminal}",
        "ssl=null",
        f"ssl0=fd:{lines.agent},fd:{lines.agent}",
        *(f"ssl{number}=fd:{fd},fd:{fd}" for number, fd in enumerate(lines.streams, start=1)),
        f"lpj={_LOOPS_PER_JIFFY}",
        "panic=-1",  # a panic ends the process, so that it is noticed
        "loglevel=5",  # warnings and worse: what a kernel complains of is a finding of the run
        "LVSLAB_AGENT=/dev/ttyS0",
        "LVSLAB_LINES=/dev/ttyS",
        f"LVSLAB_MODULES={','.join(modules)}",
        *kernel.extra_arguments,
    ]


class UmlGuest(Guest):
    """A running User-Mode Linux guest.

    Attributes:
        waker: of the guest, once it has a NIC.
    """

    terminal_device = "/dev/tty1"
    boot_timeout = 30.0
    """A loaded 2-core machine needs about 2."""

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
        """Start booting (see `Kernel.boot`)."""
        self._kernel, self._memory_mib = kernel, memory_mib
        self._modules = initramfs.fitting(kernel.modules, ["overlay", *modules])
        self._mconsole_path = directory / "uml" / name / "mconsole"
        self._nics = 0
        self.waker: Waker | None = None
        super().__init__(name, directory, console_log, network)
        threading.Thread(target=self._hasten, name=f"boot-{name}", daemon=True).start()

    def _command(self, lines: Lines) -> tuple[list[str], Bounds, Sequence[int]]:
        (self.directory / "uml").mkdir()
        give(self.directory / "uml")
        image = self.directory / "initramfs.cpio"
        image.write_bytes(
            initramfs.build(
                self._kernel.modules, self._modules, initramfs.hostfs(self.share), initramfs.static_busybox()
            )
        )
        command = arguments(
            self._kernel,
            self.name,
            memory_mib=self._memory_mib,
            directory=self.directory,
            image=image,
            modules=self._modules,
            lines=lines,
        )
        binary = self._kernel.binary
        own = umlfile.libraries(binary)
        before = registers.library(self._kernel.modules.release)
        shown = (binary, self._kernel.modules.directory.parent, *own, *before)
        command = [*preloading(before), *command]
        # its loader finds the libraries beside it by /proc/self/exe
        return command, Bounds(self.directory, shown, self._memory_mib, processes=bool(own)), ()

    def _hasten(self) -> None:
        """Make early boot's timer ticks pass faster.

        Debian's kernel compares RAID6 algorithms for 85 ticks of the clock. A tick is a SIGALRM, so
        sending some makes the wait pass; only once the kernel catches the signal, only until
        process 1 speaks, and only so many.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        caught_at: int | None = None
        while caught_at is None or self._processor_ns() < caught_at + _TIMER_SETUP_NS:
            if caught_at is None and self._catches_ticks():
                caught_at = self._processor_ns()
            if not self.alive or time.monotonic() > deadline:
                return
            time.sleep(0.002)
        for _ in range(_EARLY_TICKS):
            if self.agent.began.is_set() or not self.send_signal(signal.SIGALRM):
                return
            time.sleep(_EARLY_TICK_SECONDS)

    def _catches_ticks(self) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
        return bool(int(caught, 16) >> (signal.SIGALRM - 1) & 1)

    def _processor_ns(self) -> int:
        """Nanoseconds that the kernel's own thread has run on a processor (sched-stats.rst); 0 when
        it has ended.
        """
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0])
        except OSError:
            return 0

    def plug(self, interfaces: Sequence[tuple[str, str]]) -> list[str]:
        """Add a `raw` vector NIC for each through the management console (see `Guest.plug`)."""
        if self.waker is None:
            self.waker = Waker(self.name, self.pid, lambda: self.send_signal(signal.SIGIO))
        self.waker.watch(sockets.incoming(self.pid))
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
        if self.waker:
            self.waker.watch(sockets.incoming(self.pid))

    def _ended(self) -> None:
        if self.waker:
            self.waker.close()
