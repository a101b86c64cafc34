"""Training labs: each fails its exam untouched for the right reason, passes solved, and the doctor
is right on it: what it says mends the lab and leaves no finding, old or new; and the keeper.
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from lvslab.training.exercise import Exercise, load_all
from tests.lab.conftest import LVSLAB, QUICK, QUICKEST, Outcome, guests_of, in_sandbox, run_lvslab
from tests.lab.exercise_runs import run

EXERCISES = load_all()
ASKS_FOR_MORE = {"cloud-vip": "any address", "rdp-farm": "who serves"}
"""Labs whose task is more than the mending of the fault → the next point of their exams: fifteen
further addresses; and a server that is started and not taken out, for which there is no general
command.
"""
WITH_IPTABLES = {
    *("cloud-vip", "full-nat", "hairpin", "one-network", "port-exhaustion", "port-mapping"),
    *("reading-the-table", "syn-flood", "syn-proxy", "tun-mtu"),
}
_SECONDS = 60.0


# -- every lab -------------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", EXERCISES, ids=[each.name for each in EXERCISES])
def test_a_lab_fails_untouched_for_its_reason_passes_solved_and_the_doctor_is_right(
    exercise: Exercise, record_property: Callable[[str, object], None]
) -> None:
    with guests_of(QUICK if exercise.name in WITH_IPTABLES else QUICKEST):
        outcome = in_sandbox(run, exercise)
    untouched, solved = outcome["untouched"], outcome["solved"]
    row = (
        exercise.name,
        f"fails: {untouched['failed']}" if untouched["failed"] else "PASSES UNTOUCHED",
        next(iter(untouched["faults"]), "none"),
        "passes" if solved["passed"] else f"FAILS: {solved['failed']}",
        next(iter(solved["faults"]), "none"),
        f"{outcome['started']:.1f} s",
        f"{outcome['seconds']:.1f} s",
    )
    record_property("training", row)
    assert untouched["failed"] == exercise.fails, untouched
    assert solved["passed"], solved
    assert solved["faults"] == [], solved["said"]
    if exercise.fault:
        mended = outcome["mended"]
        assert untouched["faults"][:1] == [exercise.fault], untouched["said"]
        assert mended["failed"] == ASKS_FOR_MORE.get(exercise.name), (mended, outcome["done"])
        assert mended["faults"] == [], mended["said"]


# -- the keeper ------------------------------------------------------------------------------------


class Student:
    """Somebody at a terminal, whose running labs are kept in a directory of their own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.environment = {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "dumb"}

    def __call__(self, *arguments: str) -> Outcome:
        return run_lvslab(*arguments, env=self.environment)

    def session(self, name: str) -> Path:
        return self.state / "lvslab" / "train" / name


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Student]:
    """With a lab that runs."""
    someone = Student(tmp_path_factory.mktemp("state"))
    started = someone("train", "start", "no-forwarding", "--name", "mine")
    assert started.code == 0, started.err
    assert started.out.startswith("# "), "its task is shown"
    yield someone
    stopped = someone("train", "stop", "--all")
    assert stopped.code == 0, stopped.err
    assert not someone.session("mine").exists()


class Terminal:
    """A shell on a node, as at a terminal."""

    def __init__(self, student: Student, node: str) -> None:
        self.seen = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [*LVSLAB, "train", "shell", node], student.environment)
        # the next shell's process would hold this one's terminal open
        os.set_inheritable(self.fd, False)

    def __enter__(self) -> Terminal:
        self.wait_for("# ")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """As a window is closed: the terminal is gone, and whoever ran in it gets SIGHUP."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            os.waitpid(self.pid, 0)

    def ended(self) -> int:
        """Its exit status; what it shows meanwhile is read, or it could not end."""
        deadline = time.monotonic() + _SECONDS
        with suppress(OSError):  # EIO: nobody is at the other side any more
            while time.monotonic() < deadline and select.select([self.fd], [], [], _SECONDS)[0]:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
        os.close(self.fd)
        self.fd = -1
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + _SECONDS
        while text not in self.seen:
            readable, _, _ = select.select([self.fd], [], [], max(0.0, deadline - time.monotonic()))
            assert readable, f"no '{text}' within {_SECONDS:g} s: {self.seen!r}"
            self.seen += os.read(self.fd, 65536).decode(errors="replace")


def test_a_second_lab_of_the_same_name_is_refused_and_the_first_goes_on(student: Student) -> None:
    again = student("train", "start", "no-forwarding", "--name", "mine")
    assert (again.code, again.out) == (2, "")
    assert "lab 'mine': is running already" in again.err
    assert student("train", "status", "--name", "mine").code == 0


def test_wrong_input_gets_one_line_and_starts_nothing(tmp_path: Path) -> None:
    newcomer = Student(tmp_path)
    for arguments, said in (
        (("train", "check"), "no training lab is running"),
        (
            ("train", "start", "no-such-lab"),
            "lab 'no-such-lab': no such training lab; `lvslab train list` shows them",
        ),
        (("train", "hint", "--name", "other"), "lab 'other': is not running"),
        (("doctor",), "no training lab is running"),
        (("doctor", "--here", "--name", "mine"), "exclude each other"),
        (("doctor", "--capture", "soon"), "not a valid float"),
    ):
        done = newcomer(*arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert said in done.err and len(done.err.splitlines()) == 1, done.err
    assert not list(tmp_path.rglob("session.json"))


def test_a_broken_command_in_a_shell_harms_nothing(student: Student) -> None:
    broken = student("train", "shell", "director", "--name", "mine", "--", "ipvsadm", "--no-such-option")
    assert broken.code != 0 and "ipvsadm --help" in broken.err, broken
    missing = student("train", "shell", "director", "--name", "mine", "--", "no-such-command")
    assert missing.code == 127, missing.err
    nowhere = student("train", "shell", "nowhere", "--name", "mine", "--", "true")
    assert nowhere.code == 2 and "there is no node 'nowhere'; nodes: " in nowhere.err
    assert (
        "TCP  10.0.0.10:80"
        in student("train", "shell", "director", "--name", "mine", "--", "ipvsadm", "-L", "-n").out
    )


def test_two_shells_at_once_and_a_closed_terminal_loses_nothing(student: Student) -> None:
    with Terminal(student, "director") as one, Terminal(student, "director") as other:
        one.type("echo kept $((40 + 2)) >/root/kept; echo done $((6 * 7))\n")
        one.wait_for("done 42")
        termios.tcsetwinsize(one.fd, (33, 117))
        one.type('until [ "$(stty size)" = "33 117" ]; do sleep 0.1; done; echo as large $((3 * 3))\n')
        one.wait_for("as large 9")
        one.close()
        other.type("cat /root/kept\n")
        other.wait_for("kept 42")
        other.type("exit 7\n")
        assert other.ended() == 7, "the shell's exit status is passed on"


def test_a_lab_that_its_own_solution_has_solved_is_not_passed(student: Student) -> None:
    assert student("train", "solve").code == 0
    held = student("train", "check", "--json")
    assert (held.code, held.data["passed"], held.data["noted"]) == (0, True, False)
    listed = {each["name"]: each["passed"] for each in student("train", "list", "--json").data["labs"]}
    assert not listed["no-forwarding"]
    assert "not noted as passed" in student("train", "check").out
    assert student("train", "reset").code == 0


_USERS = """\
rm -f /tmp/served /tmp/enough
for request in $(seq 1500); do
    [ ! -e /tmp/enough ] || exit 0
    curl -s -m 2 http://10.0.0.10/ >/dev/null && touch /tmp/served
    sleep 0.1
done
exit 1
"""


def test_check_and_doctor_before_and_after_the_fix(student: Student) -> None:
    failed = student("train", "check", "--json")
    assert failed.code == 1 and not failed.data["passed"]
    ill = student("doctor", "--json")
    assert (ill.code, [each["name"] for each in ill.data["results"]]) == (1, ["ip-forward-off"]), ill.err
    finding = ill.data["results"][0]
    assert finding["verdict"] == "fail" and "lvs: net.ipv4.ip_forward = 0" in finding["evidence"]
    (fix,) = finding["fix"]
    node, _, command = fix.partition("# ")
    assert student("train", "shell", node, "--", *command.split()).code == 0
    with ThreadPoolExecutor(max_workers=1) as pool:
        users = pool.submit(student, "train", "shell", "client", _USERS)
        while student("train", "shell", "client", "--", "test", "-e", "/tmp/served").code:
            assert not users.done(), users.result()
        well = student("doctor", "--capture", "2", "--json")
        assert student("train", "shell", "client", "--", "touch", "/tmp/enough").code == 0
        assert users.result().code == 0, "they were there all the time"
    assert (well.code, well.data["results"]) == (0, []), well.out
    assert re.search(r"^[1-9]\d* packets? seen$", well.err, re.M)
    assert "the doctor was asked 2 times" in student("train", "status").out
    assert student("train", "check", "--json").data["noted"]
    assert student("train", "reset").code == 0
    assert student("train", "check").code == 1, "it is as at the beginning"


def test_a_killed_keeper_leaves_nothing_and_status_says_so(tmp_path: Path) -> None:
    someone = Student(tmp_path)
    started = someone("train", "start", "no-forwarding")
    assert started.code == 0, started.err
    keeper = _keeper(someone.session("no-forwarding"))
    family = _descendants(keeper)
    assert len(family) >= 4, "guests run below it"
    os.kill(keeper, signal.SIGKILL)
    deadline = time.monotonic() + _SECONDS
    while left := [pid for pid in family if _runs(pid)]:
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.02)
    status = someone("train", "status")
    assert (status.code, status.out.partition(";")[0]) == (0, "no training lab is running")
    assert "no-forwarding  not checked" in status.out
    assert someone("train", "check").code == 2


def _keeper(session: Path) -> int:
    """The keeper's process: of those that have its command line the first, which started the
    others.
    """
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and str(session).encode() in (entry / "cmdline").read_bytes().split(
                b"\0"
            ):
                found.append(int(entry.name))
    return min(found)


def _descendants(pid: int) -> list[int]:
    with suppress(OSError):
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [pid, *(one for child in children for one in _descendants(child))]
    return []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
