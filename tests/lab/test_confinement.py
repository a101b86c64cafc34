"""Whoever is root in a guest gets nothing of the machine.

Two attackers: root's shell in a guest, and the guest's process itself, as it would be once its
kernel does what the attacker wants (a module, /dev/mem): a program in the place of the kernel.
Each says GOT when it has reached something. The same attempts on a guest that is not confined show
that they can succeed.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from lvslab.errors import CannotError, GuestError
from lvslab.host import linux
from lvslab.host.sandbox import PRIVATE_DIRECTORY
from lvslab.kernels import alone, confinement, qemu
from lvslab.kernels.machine import Kernel
from lvslab.kernels.uml import UmlKernel
from tests.lab.attacks import (
    ALONE,
    HARMLESS,
    HARMLESS_SHELL,
    PROCESS,
    PROGRAM,
    ROOT_SHELL,
    ROOT_SHELL_9P,
    TAKE,
)
from tests.lab.conftest import in_sandbox
from tests.unconfined import unconfined


def _a_stock_kernel() -> str | None:
    """The name of a kernel here that can be a guest under QEMU."""
    for entry in catalog.entries():
        if entry.kind == "qemu":
            try:
                qemu.refuse(catalog.find(entry.full_name))
            except CannotError:
                continue
            return entry.full_name
    return None


QEMU = _a_stock_kernel()
needs_qemu = pytest.mark.skipif(
    QEMU is None, reason="no kernel for QEMU is here; run: lvslab kernels fetch debian/bookworm:amd64"
)

SECRET = "the secret of the machine"
HOME = Path(__file__).parent


@dataclass(frozen=True)
class Machine:
    """What an attacker might reach, made for this test, inside the sandbox where labs live."""

    place: Path
    other: Path
    abstract: str
    victim: int

    @property
    def secret(self) -> Path:
        return self.place / "secret"


def _machine(stack: ExitStack, place: Path) -> Machine:

    (place / "secret").write_text(SECRET)
    other = PRIVATE_DIRECTORY / "other"
    other.mkdir()
    abstract = f"lvslab-test-{os.getpid()}"
    for address in (str(other / "socket"), f"\0{abstract}"):
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(address)
        listening.listen()
    victim = stack.enter_context(subprocess.Popen(["sleep", "600"]))
    stack.callback(victim.kill)
    return Machine(place, other, abstract, victim.pid)


def _shell_attempts(place: Path, confined: bool) -> dict[str, str]:
    """What each attempt of root in a User-Mode Linux guest brought."""

    scripts = ROOT_SHELL if confined else {name: ROOT_SHELL[name] for name in HARMLESS_SHELL}
    return _attempts_in(UmlKernel.installed(), scripts, "true", place, confined)


def _shell_attempts_9p(place: Path, confined: bool) -> dict[str, str]:
    """What each attempt of root in a guest under QEMU brought."""
    assert QEMU is not None
    bind = "mkdir -p /tmp/h && mount --bind / /tmp/h"
    return _attempts_in(catalog.find(QEMU), ROOT_SHELL_9P, bind, place, confined)


def _attempts_in(
    kernel: Kernel, scripts: dict[str, str], before: str, place: Path, confined: bool
) -> dict[str, str]:
    """The output of each script, or why there was none; `before` comes before each."""

    with ExitStack() as stack:
        machine = _machine(stack, place)
        if not confined:
            stack.enter_context(unconfined())
        guest = kernel.boot("g", ["ip_vs"], PRIVATE_DIRECTORY / "g", PRIVATE_DIRECTORY / "g.console")
        stack.callback(guest.close)
        guest.wait_ready()
        brought = {}
        for name, script in scripts.items():
            text = script.format(
                hostfs="mkdir -p /tmp/h && mount -t hostfs none /tmp/h -o",
                secret=machine.secret,
                place=place,
                other=machine.other,
                checkout=HOME,
                share=guest.share,
            )
            try:
                done = guest.run(f"umount /tmp/h 2>/dev/null; {before}; {text}")
                brought[name] = done.out + done.err
            except GuestError as error:
                brought[name] = f"refused: {error}"
        return brought


def _process_attempts(place: Path, confined: bool) -> dict[str, str]:
    """What each attempt of a guest's process brought; without the confinement of those only that
    do no harm.
    """

    with ExitStack() as stack:
        machine = _machine(stack, place)
        if not confined:
            stack.enter_context(unconfined())
        folder, log = PRIVATE_DIRECTORY / "p", PRIVATE_DIRECTORY / "p.log"
        confinement.make_folder(folder)
        program = _program(machine, folder, PROCESS if confined else HARMLESS)
        network = confinement.new_network()
        with linux.inside_network(network), log.open("wb") as output:
            started = confinement.start(
                ["/usr/bin/python3", "-I", str(program)],
                confinement.Bounds(folder, (), memory_mib=64),
                network=network,
                descriptors=(),
                log=output,
            )
        started.process.wait(60)
        os.close(network)
        return _answers(log.read_text())


def _attempts_alone(place: Path) -> dict[str, str]:
    """What each attempt of a program brought that runs as kernels do which are measured."""
    with ExitStack() as stack:
        machine = _machine(stack, place)
        folder = PRIVATE_DIRECTORY / "p"
        folder.mkdir()
        program = _program(machine, folder, ALONE)
        done = subprocess.run(
            alone.command_of(["/usr/bin/python3", "-I", str(program)], (), folder=folder),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return _answers(done.stdout)


def _program(machine: Machine, folder: Path, names: Iterable[str]) -> Path:
    """The attacker's program, in a folder that it sees."""
    values = (
        *map(str, (machine.secret, machine.place, machine.other, HOME, folder)),
        machine.abstract,
        machine.victim,
    )
    program = folder / "attack.py"
    program.write_text(PROGRAM.format(values=values, attempts={name: PROCESS[name] for name in names}))
    program.chmod(0o644)
    return program


def _answers(said: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in said.splitlines() if "\t" in line)


def _processes_left(confined: bool) -> tuple[int, int]:
    """How many processes the programs of a guest have, before and after the guest's kernel alone is
    killed.
    """

    with ExitStack() as stack:
        if not confined:
            stack.enter_context(unconfined())
        guest = UmlKernel.installed().boot("g", [], PRIVATE_DIRECTORY / "g", PRIVATE_DIRECTORY / "g.console")
        stack.callback(guest.close)
        guest.wait_ready()
        guest.run("sleep 600 & sleep 601 &")
        children = linux.children_of(guest.pid)
        os.kill(guest.pid, signal.SIGKILL)
        guest.process.wait()
        deadline = time.monotonic() + 1.0
        while (left := [pid for pid in children if _runs(pid)]) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        return len(children), len(left)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _what_a_guest_can_fill() -> tuple[int, int]:
    """Bytes that root in a guest gets into the share, and into its console's file."""

    console = PRIVATE_DIRECTORY / "g.console"
    guest = UmlKernel.installed().boot("g", [], PRIVATE_DIRECTORY / "g", console)
    try:
        guest.wait_ready()
        guest.run("dd if=/dev/zero of=/mnt/fill bs=1M count=3000", timeout=120)
        return (guest.share / "fill").stat().st_blocks * 512, console.stat().st_size
    finally:
        guest.close()


def _what_a_process_can_take() -> str:
    """Output of a program in the kernel's place that takes processes and memory until it is
    refused.
    """

    folder, log = PRIVATE_DIRECTORY / "p", PRIVATE_DIRECTORY / "p.log"
    confinement.make_folder(folder)
    (folder / "take.py").write_text(TAKE)
    network = confinement.new_network()
    with linux.inside_network(network), log.open("wb") as output:
        started = confinement.start(
            ["/usr/bin/python3", "-I", str(folder / "take.py")],
            confinement.Bounds(folder, (), memory_mib=64),
            network=network,
            descriptors=(),
            log=output,
        )
    started.process.wait(120)
    os.close(network)
    return log.read_text()


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder of the machine that no lab needs, with a secret that any process of this machine may
    read: what keeps a guest from it is the confinement alone.
    """
    path = Path("/var/tmp") / f"lvslab-test-{os.getpid()}"
    path.mkdir()
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def _success(attempts: dict[str, str]) -> set[str]:
    return {name for name, said in attempts.items() if "GOT" in said or SECRET in said}


@pytest.fixture(scope="module")
def confined_shell(place: Path) -> dict[str, str]:
    return in_sandbox(_shell_attempts, place, True)


@pytest.fixture(scope="module")
def confined_shell_9p(place: Path) -> dict[str, str]:
    return in_sandbox(_shell_attempts_9p, place, True)


@pytest.fixture(scope="module")
def confined_process(place: Path) -> dict[str, str]:
    return in_sandbox(_process_attempts, place, True)


@pytest.fixture(scope="module")
def alone_process(place: Path) -> dict[str, str]:
    return in_sandbox(_attempts_alone, place)


@pytest.mark.parametrize("name", ROOT_SHELL)
def test_root_in_a_guest_gets_nothing(confined_shell: dict[str, str], place: Path, name: str) -> None:
    assert name not in _success(confined_shell), confined_shell[name]
    assert not (place / "written").exists()


@needs_qemu
@pytest.mark.parametrize("name", ROOT_SHELL_9P)
def test_root_in_a_guest_under_qemu_gets_nothing(
    confined_shell_9p: dict[str, str], place: Path, name: str
) -> None:
    assert name not in _success(confined_shell_9p), confined_shell_9p[name]
    assert not (place / "written").exists()


@pytest.mark.parametrize("name", PROCESS)
def test_a_guests_process_gets_nothing(confined_process: dict[str, str], place: Path, name: str) -> None:
    assert name not in _success({name: confined_process[name]}), confined_process[name]
    assert not (place / "written").exists()


@pytest.mark.parametrize("name", ALONE)
def test_a_kernel_that_runs_alone_gets_nothing(alone_process: dict[str, str], place: Path, name: str) -> None:
    assert name not in _success({name: alone_process[name]}), alone_process[name]
    assert not (place / "written").exists()


@pytest.mark.parametrize(
    ("attack", "names"),
    [
        (_shell_attempts, set(HARMLESS_SHELL)),
        (_process_attempts, set(HARMLESS)),
        pytest.param(
            _shell_attempts_9p,
            {"the secret", "another lab's folder", "the checkout"},
            marks=needs_qemu,
        ),
    ],
)
def test_without_the_confinement_the_same_attempts_succeed(
    attack: Callable[..., dict[str, str]], names: set[str], place: Path
) -> None:
    assert names <= _success(in_sandbox(attack, place, False))
    (place / "written").unlink(missing_ok=True)


def test_the_end_of_a_guests_kernel_is_the_end_of_its_programs() -> None:
    before, after = in_sandbox(_processes_left, True)
    assert before >= 2
    assert after == 0


def test_without_the_confinement_programs_outlive_their_kernel() -> None:
    before, after = in_sandbox(_processes_left, False)
    assert 0 < after <= before


def test_a_guest_fills_its_share_and_no_more() -> None:
    share, console = in_sandbox(_what_a_guest_can_fill)
    assert 1 << 20 < share < 600 << 20
    assert console < 1 << 20


def test_a_guests_process_takes_so_many_processes_and_so_much_memory() -> None:
    processes, memory = in_sandbox(_what_a_process_can_take).splitlines()
    word, count, number = processes.split()
    assert word == "processes" and 100 < int(count) <= 2048 and int(number) == errno.EAGAIN
    assert memory == "memory"


def test_a_fifo_of_a_guest_makes_a_careless_reader_wait() -> None:
    """The reverse of the attempts above: they are worth something only if such a file does hold up
    whoever opens it as any other.
    """

    def inside() -> bool:
        with ExitStack() as stack:
            guest = UmlKernel.installed().boot(
                "g", [], PRIVATE_DIRECTORY / "g", PRIVATE_DIRECTORY / "g.console"
            )
            stack.callback(guest.close)
            guest.wait_ready()
            guest.run("mkfifo /mnt/jobs/fifo").check("g", "mkfifo")
            fifo = guest.share / "jobs" / "fifo"
            careless = threading.Thread(target=fifo.read_text, daemon=True)
            careless.start()
            while careless.is_alive():
                with suppress(OSError):  # ENXIO until somebody waits at the other end
                    os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
                    return True
            return False

    assert in_sandbox(inside)


def test_a_view_that_cannot_be_built_is_a_dead_guest_with_the_reason() -> None:
    def inside() -> tuple[int | None, str]:
        folder, log = PRIVATE_DIRECTORY / "p", PRIVATE_DIRECTORY / "p.log"
        confinement.make_folder(folder)
        network = confinement.new_network()
        with linux.inside_network(network), log.open("wb") as output:
            started = confinement.start(
                ["true"],
                confinement.Bounds(folder, (Path("/no/such/kernel"),), memory_mib=64),
                network=network,
                descriptors=(),
                log=output,
            )
        return started.process.wait(20), log.read_text()

    code, said = in_sandbox(inside)
    assert code != 0 and "/no/such/kernel" in said
