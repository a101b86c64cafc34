"""A guest in virtual time: its process, its share, its line for commands.

It is confined as every guest is (kernels/confinement.py), and all that it can see of the machine is
the same in each run: words of its command line that do not name a place, a fixed environment, fixed
addresses of its process, numbers drawn from the seed, a date of the calendar's.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import GuestError, LabError
from lvslab.host import linux
from lvslab.host.completed import Completed
from lvslab.kernels import confinement, console, guestfiles, initramfs
from lvslab.kernels.virtual_time import FIXED_ADDRESSES, VirtualTimeKernel, fixed_arguments
from lvslab.simulation.calendar import SECOND, Calendar
from lvslab.simulation.cards import Card, Line
from lvslab.simulation.errors import GuestGoneError, GuestPanicError
from lvslab.simulation.participant import GuestParticipant
from lvslab.simulation.patience import ProcessPatience
from lvslab.simulation.vhost import GLANCE_SECONDS, Device

MEMORY_MIB = 64
"""Of a guest, by default: its driver takes one region of memory, and a world may have many."""

READY_UPTIME = 2 * SECOND
"""A guest is ready when it is this old: programs that take an uptime below one second for "not set"
go wrong, as ping of iputils, which then sends without a pause.
"""

READY_SECONDS = 60.0
"""Of virtual time until a guest that does not run jobs counts as hung."""

_CALENDAR, _IMAGE, _MACHINES_OWN = "calendar", "initramfs.cpio", "uml/"
"""Below the guest's folder, where its process begins: a path would go into its random numbers
(random_init_early in drivers/char/random.c takes the command line).
"""

Done = Callable[[Completed], object]


@dataclass
class _Process:
    """What a running guest holds of the machine."""

    confined: confinement.Confined
    network: int

    def end(self) -> None:
        """Its kernel, and with its process namespace all of its programs."""
        with suppress(ProcessLookupError):  # it has ended by itself
            signal.pidfd_send_signal(self.confined.handle, signal.SIGKILL)
        self.confined.process.wait()
        os.close(self.confined.handle)
        os.close(self.network)


class Machine:
    """A guest, which can be switched on and off and on again.

    Attributes:
        name: its host name.
        number: its place among guests of the same time.
        cards: in order: eth0, eth1, …
        share: folder that it sees as `initramfs.SHARE`, while it is on.
        participant: its side of the calendar, while it is on.
        ready: it runs jobs.
        boots: how often it has been switched on.
        frozen: it gets no time.
        listeners: by a word, who takes the lines that programs write to its agent's line ("=said
            WORD TEXT").
    """

    def __init__(
        self,
        calendar: Calendar,
        kernel: VirtualTimeKernel,
        number: int,
        name: str,
        directory: Path,
        console_log: Path,
        *,
        cards: Sequence[Card] = (),
        seed: int = 0,
        memory_mib: int = MEMORY_MIB,
    ) -> None:
        """Describe it; `boot` starts it.

        Args:
            number: at least 1.
            directory: private to it; must not exist while it is off.
            console_log: file for everything that its kernel prints, of each boot in turn.
            seed: of the world.
        """
        self.name, self.number, self.cards = name, number, tuple(cards)
        self.share = directory / "share"
        self.participant: GuestParticipant | None = None
        self.ready = False
        self._calendar, self._kernel, self._directory, self._console_log = (
            calendar,
            kernel,
            directory,
            console_log,
        )
        self._seed, self._memory_mib = seed, memory_mib
        self._line = Line()
        self._line.hear_text = self._hear
        self._process: _Process | None = None
        self._has_folder = self.frozen = False
        self.boots = 0
        self.listeners: dict[str, Callable[[str], object]] = {}
        self._booted_at = self._frozen_at = 0
        self._forget()

    def _forget(self) -> None:
        self.ready = self.frozen = False
        self._rest = b""
        self._jobs: dict[int, Done] = {}
        self._next_job = 1
        self._problems: list[str] = []

    @property
    def on(self) -> bool:
        """Whether it has been switched on, and not off."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Its kernel's process on the machine.

        Raises:
            LabError: it is off.
        """
        if self._process is None:
            raise LabError(f"{self.name}: is off")
        return self._process.confined.pid

    # -- power -------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Switch it on: it boots at the present moment, until it waits for the first time. Its
        agent is heard when the calendar goes on (`wait_ready`).

        Raises:
            CannotError: something that the boot needs is missing.
            GuestError: it does not get there.
        """
        if self.on:
            raise LabError(f"{self.name}: is on; switch it off first")
        self._forget()
        self.boots += 1
        self._booted_at = self._calendar.now
        confinement.make_folder(self._directory)
        self._has_folder = True
        try:
            self._start()
        except BaseException:
            self.power_off()
            raise

    def _start(self) -> None:
        devices = self._lay_out()
        patience = ProcessPatience(self.name, self._processor_seconds)
        self.participant = GuestParticipant(
            self._calendar, self.number, self.name, devices, patience, self._lost
        )
        path = self._directory / _CALENDAR
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen(1)
            confinement.give(path, *devices)
            self._process = self._spawn(devices)
            patience.begin()
            connection = self._accept(listener, patience)
        self.participant.boot(connection)

    def _lay_out(self) -> dict[Path, Device]:
        """Its folder; returns its devices by their sockets' paths."""
        for folder in (self.share, self.share / "jobs", self._directory / _MACHINES_OWN):
            guestfiles.make_folder(folder)
            confinement.give(folder)
        (self.share / "agent.sh").write_bytes(initramfs.guest_script("agent.sh"))
        image = initramfs.build(
            self._kernel.modules, (), initramfs.hostfs(self.share), initramfs.static_busybox()
        )
        (self._directory / _IMAGE).write_bytes(image)
        cards = {self._directory / f"card{number}": card for number, card in enumerate(self.cards)}
        return {**cards, self._directory / "line": self._line}

    def _spawn(self, devices: dict[Path, Device]) -> _Process:
        kernel = self._kernel
        libraries = kernel.libraries
        environment = (
            f"LD_PRELOAD={':'.join(map(str, libraries))}",
            f"LVSLAB_SEED={seed_of(self._seed, self.number)}",
        )
        command = [*FIXED_ADDRESSES, "env", f"--chdir={self._directory}", *environment, str(kernel.binary)]
        words = arguments(kernel, self.name, self.number, self._memory_mib, devices)
        shown = (kernel.binary.parent, *libraries)
        bounds = confinement.Bounds(self._directory, shown, self._memory_mib)
        network = confinement.new_network()
        try:
            with (
                self._console_log.open("ab" if self.boots > 1 else "wb") as log,
                linux.inside_network(network),
            ):
                confined = confinement.start(
                    [*command, *words], bounds, network=network, descriptors=(), log=log
                )
        except BaseException:
            os.close(network)
            raise
        return _Process(confined, network)

    def _accept(self, listener: socket.socket, patience: ProcessPatience) -> socket.socket:
        """The connection of its kernel's clock; a process that ends before ends the waiting."""
        assert self._process is not None
        watched = select.poll()
        watched.register(listener, select.POLLIN)
        watched.register(self._process.confined.handle, select.POLLIN)
        while not (ready := watched.poll(1000 * GLANCE_SECONDS)):
            patience.check(self._calendar.now)
        if all(descriptor != listener.fileno() for descriptor, _ in ready):
            raise self._lost(f"{self.name}: its kernel ended before its clock was set")
        return listener.accept()[0]

    def power_off(self) -> None:
        """Cut its power: it gets no time, its cards are dead, its processes end."""
        if self.participant is not None:
            self.participant.close()
        if self._process is not None:
            self._process.end()
        self.participant = self._process = None
        self._forget()
        if self._has_folder:
            linux.unmount(str(self._directory))
            self._directory.rmdir()
            self._has_folder = False

    def freeze(self) -> None:
        """Stop it where it stands, and its clock with it; frames wait while its cards have room."""
        if self.participant is not None and not self.frozen:
            self.frozen, self._frozen_at = True, self._calendar.now
            self._calendar.leave(self.participant)

    def thaw(self) -> None:
        """Let it go on; its clock goes on where it stood."""
        if self.participant is not None and self.frozen:
            self.frozen = False
            self.participant.stand_still(self._calendar.now - self._frozen_at)
            self._calendar.join(self.participant)

    # -- commands ----------------------------------------------------------------------------------

    def wait_ready(self, seconds: float = READY_SECONDS) -> None:
        """Let time pass until it runs jobs, and is old enough for all programs.

        Raises:
            GuestError: it could not set itself up, or not within so many seconds of virtual time.
        """
        self._run_until(lambda: self.ready or bool(self._problems), seconds, "runs no jobs")
        if self._problems:
            raise GuestError(f"{self.name}: booted without {', '.join(self._problems)}; {self.last_words()}")
        while self._calendar.now < self._booted_at + READY_UPTIME:
            self._calendar.run(self._booted_at + READY_UPTIME)

    def command(self, script: str, seconds: float = 60.0) -> Completed:
        """Run a /bin/sh script to its end, while time passes in the world.

        Not from within an event: `submit` is for those.

        Raises:
            GuestError: it has no end within so many seconds of virtual time.
        """
        results: list[Completed] = []
        self.submit(script, results.append)
        self._run_until(lambda: bool(results), seconds, f"no answer to '{script.strip()[:60]}'")
        return results[0]

    def submit(self, script: str, done: Done) -> None:
        """Start a /bin/sh script at this moment; `done` gets what came of it when it has ended. A
        guest whose power is cut meanwhile never answers.

        Raises:
            GuestError: it runs no jobs.
        """
        if not self.ready:
            raise GuestError(f"{self.name}: runs no jobs{'' if self.on else ', it is off'}")
        job = self._next_job
        self._next_job += 1
        self._jobs[job] = done
        guestfiles.write(self.share / "jobs" / f"{job}.sh", script)
        self._line.say(f"{job} run {job}\n".encode())

    def _run_until(self, over: Callable[[], bool], seconds: float, otherwise: str) -> None:
        end = self._calendar.now + round(seconds * SECOND)
        while not over():
            if self._calendar.now >= end:
                raise GuestError(f"{self.name}: {otherwise} within {seconds:g} s of virtual time")
            self._calendar.run(end)

    def _hear(self, data: bytes) -> None:
        """What its agent says (kernels/guest/agent.sh)."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"=said "):
                _, word, text = (line.decode(errors="replace").rstrip("\r") + " ").split(" ", 2)
                listener = self.listeners.get(word)
                if listener is not None:
                    listener(text.removesuffix(" "))
                    self._calendar.stop()
                continue
            match line.strip().decode(errors="replace").split():
                case ["=up", _]:
                    self.ready = True
                    self._calendar.stop()
                case ["=problem", *words]:
                    self._problems.append(" ".join(words))
                    self._calendar.stop()
                case ["=ended", job, code]:
                    self._end_job(int(job), int(code))

    def _end_job(self, job: int, code: int) -> None:
        done = self._jobs.pop(job, None)
        if done is None:
            return
        texts = []
        for kind in ("out", "err"):
            path = self.share / "jobs" / f"{job}.{kind}"
            texts.append(guestfiles.read(path))
            guestfiles.remove(path)
        guestfiles.remove(self.share / "jobs" / f"{job}.sh")
        done(Completed(code, *texts))
        self._calendar.stop()

    # -- what became of it -------------------------------------------------------------------------

    def last_words(self) -> str:
        """The end of its console, in one line."""
        return console.last_words(self._console_log)

    def console(self) -> str:
        """All that its kernel has printed, in every boot."""
        return self._console_log.read_text(errors="replace") if self._console_log.exists() else ""

    def _lost(self, sentence: str) -> GuestError:
        """Why it is gone."""
        _await_end(self._process)
        kind = GuestPanicError if console.panicked(self._console_log) else GuestGoneError
        return kind(f"{sentence}; {self.last_words()}")

    def _processor_seconds(self) -> float:
        return linux.processor_seconds(self._process.confined.pid) if self._process is not None else 0.0


def _await_end(process: _Process | None, seconds: float = 5.0) -> None:
    """A kernel that has closed its lines prints its last words while it ends."""
    if process is None:
        return
    deadline = time.monotonic() + seconds
    watched = select.poll()
    watched.register(process.confined.handle, select.POLLIN)
    watched.poll(1000 * max(0.0, deadline - time.monotonic()))


def seed_of(seed: int, number: int) -> int:
    """The seed of one guest's chance: of two worlds or two guests it has nothing in common."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:8], "little")


def arguments(
    kernel: VirtualTimeKernel, name: str, number: int, memory_mib: int, devices: dict[Path, Device]
) -> list[str]:
    """Words of its command line; none of them names a place outside of its folder."""
    return [
        f"mem={memory_mib}M",
        "umid=guest",
        f"uml_dir={_MACHINES_OWN}",
        f"initrd={_IMAGE}",
        f"time-travel=ext:{number}:{_CALENDAR}",
        *fixed_arguments(),
        f"hostname={name}",
        "LVSLAB_AGENT=/dev/hvc0",
        *(f"virtio_uml.device={path.name}:{device.kind}" for path, device in devices.items()),
        *kernel.extra_arguments,
    ]
