"""The host's end of a guest's agent: against a made-up guest on a socket, and against the real
agent.sh on a terminal.
"""

from __future__ import annotations

import os
import pty
import shlex
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import GuestError
from lvslab.kernels.agent import Agent
from lvslab.kernels.initramfs import SHARE, guest_script

SOON = 20.0
"""Far longer than anything here takes: reached only when something hangs."""


class FakeGuest:
    """A guest that does what the test says with each line it gets; by default it echoes, "runs" the
    job and reports its end.
    """

    def __init__(self, line: socket.socket, jobs: Path) -> None:
        self.line, self.jobs = line, jobs
        self.heard: list[str] = []
        self.deaf = False
        self.unread: list[tuple[str, str]] = []
        self.answer: Callable[[str], None] = self.finish
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def say(self, *lines: str) -> None:
        self.line.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def finish(self, line: str, code: int = 0, out: str = "", err: str = "") -> None:
        number = line.split()[1]
        (self.jobs / f"{number}.out").write_text(out)
        (self.jobs / f"{number}.err").write_text(err)
        self.say(line, f"=ended {number} {code}")

    def die(self) -> None:
        self.line.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        for line in self.line.makefile("r"):
            bell, _, text = line.strip().partition(" ")
            # as a line whose interrupt was lost: what came is read with what comes next
            if self.deaf:
                self.unread.append((bell, text))
                self.deaf = bool(text)
                continue
            for number, job in [*self.unread, (bell, text)]:
                if job:
                    self.say(f"=heard {number}")
                    self.heard.append(job)
                    self.answer(job)
            self.unread = []


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Agent, FakeGuest]]:
    ours, theirs = socket.socketpair()
    (tmp_path / "jobs").mkdir()
    agent = Agent("lvs", ours, tmp_path / "jobs", lambda: "its console ended with: Kernel panic")
    guest = FakeGuest(theirs, tmp_path / "jobs")
    yield agent, guest
    guest.die()
    agent.close()
    theirs.close()


def ready(agent: Agent, seconds: float = SOON) -> None:
    agent.wait_ready(time.monotonic() + seconds)


def test_a_guest_is_ready_when_it_says_so(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.say("=init")
    assert agent.began.wait(SOON) and not agent.ready.is_set()
    guest.say("=up 0.51")
    ready(agent)


def test_a_job_gives_its_output_and_exit_code(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    seen: list[str] = []

    def answer(line: str) -> None:
        seen.append((guest.jobs / f"{line.split()[1]}.sh").read_text())
        guest.finish(line, 3, "one\ntwo\n", "oops\n")

    guest.answer = answer
    done = agent.run("echo one; echo two\nexit 3", timeout=SOON)
    assert (done.code, done.out, done.err) == (3, "one\ntwo\n", "oops\n")
    assert guest.heard == ["run 1"] and seen == ["echo one; echo two\nexit 3\n"]


def test_a_bell_that_was_not_heard_is_followed_by_another(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.deaf = True
    assert agent.run("true", timeout=SOON).code == 0
    assert guest.heard == ["run 1"]


def test_nothing_of_a_finished_job_stays_in_the_shared_folder(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    agent.run("true", timeout=SOON)
    assert list(guest.jobs.iterdir()) == []


def test_output_that_is_not_text_does_not_break_a_job(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair

    def answer(line: str) -> None:
        (guest.jobs / "1.out").write_bytes(b"\xff\xfe ok")
        (guest.jobs / "1.err").write_bytes(b"")
        guest.say("=ended 1 0")

    guest.answer = answer
    assert agent.run("true", timeout=SOON).out.endswith(" ok")


def test_output_that_is_no_file_is_an_error_and_the_next_job_runs(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair

    def answer(line: str) -> None:
        number = line.split()[1]
        (guest.jobs / f"{number}.err").write_text("")
        os.mkfifo(guest.jobs / f"{number}.out")
        os.mkfifo(guest.jobs / f"{int(number) + 1}.sh")  # in the place of the next job's script
        guest.say(line, f"=ended {number} 0")

    guest.answer = answer
    with pytest.raises(GuestError, match=r"1\.out: no regular file"):
        agent.run("true", timeout=SOON)
    guest.answer = guest.finish
    assert agent.run("true", timeout=SOON).code == 0
    assert not list(guest.jobs.iterdir())


def test_a_guest_that_talks_without_end_is_not_heard_out(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    for number in range(100):
        guest.say(f"=problem {number}")
    guest.line.sendall(b"x" * (8 << 20))
    guest.say("", "=up 1")
    with pytest.raises(GuestError, match="set up its 0 and 1 and 2 ") as told:
        ready(agent)
    assert len(str(told.value)) < 300


def test_a_guest_that_does_not_read_its_line_does_not_hold_the_machine_up(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    agent = Agent("lvs", ours, tmp_path, lambda: "its console is empty")
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(bytes(4096), socket.MSG_DONTWAIT)
    with pytest.raises(GuestError, match=r"no answer within 0\.1 s"):
        agent.run("true", timeout=0.1)
    theirs.close()
    agent.close()


def test_echo_and_noise_on_the_line_are_passed_over(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair

    def answer(line: str) -> None:
        guest.say("run 1", "", "   ", "ended 1 9", "x=ended", "=what 1 7", "\x1b[0m random: crng init done")
        guest.finish(line, 5)

    guest.answer = answer
    assert agent.run("exit 5", timeout=SOON).code == 5


def test_lines_may_come_in_pieces_of_any_size(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair

    def answer(line: str) -> None:
        number = line.split()[1]
        for kind in ("out", "err"):
            (guest.jobs / f"{number}.{kind}").write_text("")
        for byte in f"{line}\r\n=ended {number} 42\r\n".encode():
            guest.line.sendall(bytes([byte]))

    guest.answer = answer
    assert [agent.run("exit 42", timeout=SOON).code for _ in range(3)] == [42, 42, 42]


def test_several_lines_may_come_at_once_and_in_any_order(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    waiting: list[str] = []

    def answer(line: str) -> None:
        waiting.append(line)
        if len(waiting) == 4:
            for each in waiting:
                for kind in ("out", "err"):
                    (guest.jobs / f"{each.split()[1]}.{kind}").write_text("")
            guest.say(*[f"=ended {each.split()[1]} {each.split()[1]}" for each in reversed(waiting)])

    guest.answer = answer
    with ThreadPoolExecutor(4) as pool:
        codes = sorted(done.code for done in pool.map(lambda _: agent.run("true", timeout=SOON), range(4)))
    assert codes == [1, 2, 3, 4]


def test_a_job_that_takes_too_long_is_given_up_with_the_command_named(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.answer = lambda line: None
    with pytest.raises(
        GuestError,
        match=r"^lvs: no answer within 0\.01 s to: sleep 99; its console ended with: Kernel panic$",
    ):
        agent.run("echo first\nsleep 99\n", timeout=0.01)


def test_a_job_that_ends_after_it_was_given_up_does_not_disturb_the_next(
    pair: tuple[Agent, FakeGuest],
) -> None:
    agent, guest = pair
    late: list[str] = []
    guest.answer = late.append
    with pytest.raises(GuestError):
        agent.run("sleep 99", timeout=0.01)

    def answer_late(line: str) -> None:
        guest.finish("run 1", 1)
        guest.finish(line, 7, "second")

    guest.answer = answer_late
    done = agent.run("exit 7", timeout=SOON)
    assert (done.code, done.out) == (7, "second")


def test_a_guest_that_dies_in_the_middle_of_a_job_is_said_to_be_dead(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.answer = lambda line: guest.die()
    with pytest.raises(GuestError, match=r"^lvs: guest kernel died; its console ended with: Kernel panic$"):
        agent.run("true", timeout=SOON)


def test_a_dead_guest_takes_no_more_jobs(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.die()
    assert agent.ready.wait(SOON)
    for call in (
        lambda: agent.run("true", timeout=SOON),
        lambda: agent.start("true", 1),
        agent.check_alive,
        lambda: ready(agent),
    ):
        with pytest.raises(GuestError, match="guest kernel died"):
            call()


def test_a_guest_that_dies_at_boot_is_not_waited_for(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.say("=init")
    guest.die()
    with pytest.raises(GuestError, match="guest kernel died"):
        ready(agent)


def test_a_guest_that_is_not_ready_in_time_hung(pair: tuple[Agent, FakeGuest]) -> None:
    agent, _ = pair
    with pytest.raises(
        GuestError, match=r"hung at boot, or is slow here: not ready within 0\.0 s; its console ended with"
    ):
        ready(agent, 0.01)


def test_problems_of_the_set_up_are_named_when_the_guest_is_ready(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.say("=init", "=problem modules", "=problem overlay", "=up 1.0")
    with pytest.raises(
        GuestError, match="lvs: the guest could not set up its modules and overlay; its console"
    ):
        ready(agent)


def test_a_started_job_is_waited_for_and_signalled(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.answer = lambda line: None
    number = agent.start("sleep 99", 3)
    assert agent.wait(number, 0.01) is None
    guest.answer = lambda line: guest.say(f"=ended {number} 143")
    agent.signal(number, signal.SIGTERM)
    assert agent.wait(number, SOON) == 143
    assert guest.heard == ["start 1 3", "signal 1 15"]


def test_waiting_for_a_job_of_a_guest_that_dies_raises(pair: tuple[Agent, FakeGuest]) -> None:
    agent, guest = pair
    guest.answer = lambda line: None
    number = agent.start("sleep 99", 1)
    guest.die()
    with pytest.raises(GuestError, match="guest kernel died"):
        agent.wait(number, SOON)


# -- the real agent.sh -----------------------------------------------------------------------------


class Terminal:
    """The host's side of a terminal, as a socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def recv(self, size: int) -> bytes:
        return os.read(self._descriptor, size)

    def send(self, data: bytes, flags: int) -> None:
        os.write(self._descriptor, data)

    def close(self) -> None:
        """The owner closes it."""


@pytest.fixture
def real(tmp_path: Path) -> Iterator[tuple[Agent, list[int]]]:
    """An agent in front of the shipped agent.sh, run by /bin/sh with terminals in place of a
    guest's serial lines.
    """
    masters, slaves = [], []
    for number in range(3):
        master, slave = pty.openpty()
        masters.append(master)
        slaves.append(slave)  # kept open: a terminal whose last user goes hangs up
        (tmp_path / f"ttyS{number}").symlink_to(os.ttyname(slave))
    line: Any = Terminal(masters[0])
    (tmp_path / "jobs").mkdir()
    agent = Agent("lvs", line, tmp_path / "jobs", lambda: "it was ended")
    script = guest_script("agent.sh").decode().replace(f"{SHARE}/jobs", str(tmp_path / "jobs"))
    (tmp_path / "agent.sh").write_text(
        f"exec 3<>{shlex.quote(str(tmp_path))}/ttyS0; stty raw -echo <&3\n{script}"
    )
    environment = {**os.environ, "LVSLAB_LINES": f"{tmp_path}/ttyS"}
    command = ["/bin/sh", str(tmp_path / "agent.sh")]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, env=environment
    ) as process:
        agent.wait_ready(time.monotonic() + SOON)
        yield agent, masters
        os.killpg(process.pid, signal.SIGKILL)
    for slave in slaves:
        os.close(slave)
    for thread in threading.enumerate():
        if thread.name == "agent-lvs":
            thread.join(SOON)
    for master in masters:
        os.close(master)


def test_the_shipped_agent_runs_jobs(real: tuple[Agent, list[int]]) -> None:
    agent, _ = real
    done = agent.run("echo out; echo err >&2; (exit 3)", timeout=SOON)
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")
    assert agent.run("exit 4", timeout=SOON).code == 4
    assert agent.run("no-such-program", timeout=SOON).code == 127
    assert agent.run("kill -9 $(sh -c 'echo $PPID')", timeout=SOON).code == 137
    assert agent.run("cat", timeout=SOON).out == ""  # there is nobody to type
    assert len(agent.run("head -c 300000 /dev/zero | tr '\\0' x", timeout=SOON).out) == 300000


def test_jobs_of_the_shipped_agent_do_not_see_one_another(real: tuple[Agent, list[int]]) -> None:
    agent, _ = real
    agent.run("secret=1; cd /; exec 9</dev/null", timeout=SOON)
    assert (
        agent.run('echo "${secret:-none}"; test -e 1.sh || pwd | grep -c jobs', timeout=SOON).out
        == "none\n1\n"
    )


def test_jobs_of_the_shipped_agent_run_side_by_side(real: tuple[Agent, list[int]], tmp_path: Path) -> None:
    agent, _ = real
    os.mkfifo(tmp_path / "meet")
    with ThreadPoolExecutor(2) as pool:  # each waits for the other
        reader = pool.submit(agent.run, f"cat {tmp_path}/meet", SOON)
        writer = pool.submit(agent.run, f"echo hello >{tmp_path}/meet", SOON)
        assert reader.result().out == "hello\n" and writer.result().code == 0


def test_a_started_job_of_the_shipped_agent_talks_over_its_lines_and_takes_signals(
    real: tuple[Agent, list[int]],
) -> None:
    agent, masters = real
    number = agent.start(
        "trap 'echo bye; exit 5' TERM; read word; echo \"got $word\"; echo problem >&2; while :; do sleep"
        " 0.05; done",
        1,
    )
    os.write(masters[1], b"hello\n")
    heard = b""
    while b"got hello" not in heard:
        heard += os.read(masters[1], 1000)
    assert b"problem" in os.read(masters[2], 1000)
    assert agent.wait(number, 0.0) is None
    agent.signal(number, signal.SIGTERM)
    assert agent.wait(number, SOON) == 5


# -- gaps ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["=ended 99 0", "=ended", "=ended 1", "=ended x y"])
def test_a_damaged_line_does_not_make_the_host_deaf(pair: tuple[Agent, FakeGuest], line: str) -> None:
    agent, guest = pair
    guest.say(line)
    agent.run("true", timeout=SOON)
