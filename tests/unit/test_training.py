"""Training labs without a kernel: their files, the line to the keeper, and what the command line
says when nothing runs.
"""

from __future__ import annotations

import fcntl
import json
import re
import socket
import threading
from pathlib import Path

import pytest

from lvslab.cli.train import train
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.host.distribution import require_scripts
from lvslab.kernels.needs import any_kernel
from lvslab.modes import MODES
from lvslab.training import exercise, ledger, line, session
from lvslab.training.exam import Exam, take
from lvslab.training.exercise import Exercise, Group
from lvslab.training.network import plan_exercise
from lvslab.training.nodes import examiner, named, student_nodes

EXERCISES = exercise.load_all()

LAB = '''"""# Mine

Build it.
"""
from lvslab.training.exercise import exercise

@exercise(group="path", number=99, mode="nat", hints=["a", "b", "c"], solution={"director": "true"}, fails="it")
def check(exam):
    exam.must("it", False, "good", "bad")
'''  # noqa: E501


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", EXERCISES, ids=lambda each: each.name)
def test_a_shipped_lab_is_whole(each: Exercise) -> None:
    assert each.mode in MODES and each.fails and each.minutes > 0
    assert len(each.hints) >= 3, "hints get more concrete, so there are several"
    assert each.solution and all(script.strip() for script in each.solution.values())
    assert "lvslab train check" in each.page, "the page ends with how to be judged"
    assert (each.fault is not None) == (each.group == Group.REPAIR)


def test_places_in_the_course_are_taken_once() -> None:
    places = [(each.group, each.number) for each in EXERCISES]
    assert len(places) == len(set(places)) and len({each.title for each in EXERCISES}) == len(EXERCISES)


def test_a_lab_of_ones_own_is_loaded_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "my_lab.py").write_text(LAB)
    found = exercise.load(str(tmp_path / "my_lab.py"))
    assert (found.name, found.title, found.page.splitlines()[2]) == ("my-lab", "Mine", "Build it.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAB.replace("# Mine", "Mine"), "begin it with a heading"),
        (
            LAB + LAB.partition('"""\n')[2].replace("def check", "def again"),
            "holds 2 training labs instead of one",
        ),
        ("x = 1\n", "holds 0 training labs"),
        (LAB.replace('group="path"', 'group="walk"'), "group: 'walk' is none of: path, repair"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "lab.py").write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)):
        exercise.load(str(tmp_path / "lab.py"))


def test_an_unknown_lab_is_refused() -> None:
    with pytest.raises(UsageError, match="lab 'juggling': no such training lab"):
        exercise.load("juggling")


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def which(name: str, **options: object) -> str | None:
        return None if name in ("mon", "nc") else f"/bin/{name}"

    monkeypatch.setattr("lvslab.host.programs.shutil.which", which)
    require_scripts("lab 'x'", ["month=1 echo monitor"])
    with pytest.raises(CannotError, match=r"lab 'x': mon not found; run: .*apt-get install .*\bmon\b"):
        require_scripts("lab 'x'", ["sleep 1; mon -f -c /etc/mon.cf"])


@pytest.mark.parametrize("each", EXERCISES, ids=lambda each: each.name)
def test_every_node_that_a_student_reaches_has_a_kernel_of_its_own(each: Exercise) -> None:
    plan = plan_exercise(each, any_kernel())
    assert all(node.kernel == "uml" for node in student_nodes(plan)) and examiner(plan) not in student_nodes(
        plan
    )
    assert all(named(plan, name) for name in (*each.prepare, *each.solution)), (
        "scripts name nodes that are there"
    )
    with pytest.raises(UsageError, match="a student is root on the director"):
        plan_exercise(each, any_kernel(), "host")


# -- exams -----------------------------------------------------------------------------------------


def test_an_exam_ends_at_the_first_point_that_does_not_hold() -> None:
    def three(exam: Exam) -> None:
        exam.must("one", True, "fine", "")
        exam.must("two", False, "", "not so")
        exam.must("three", True, "", "")

    held = take(three, Exam(None, Path()))
    assert [(each.name, each.verdict, each.reason) for each in held.points] == [
        ("one", "pass", "fine"),
        ("two", "fail", "not so"),
    ]
    assert not held.passed


def test_an_exam_that_judged_nothing_is_not_passed() -> None:
    assert not take(lambda exam: None, Exam(None, Path())).passed


# -- the line --------------------------------------------------------------------------------------


def test_messages_and_frames_share_a_line() -> None:
    here, there = map(line.Line, socket.socketpair())
    here.send({"do": "shell", "text": "ä\n"})
    here.send_frame(line.DATA, b"x" * 70000)
    here.send_frame(line.END, b"")
    received: list[object] = []

    def read() -> None:
        received.append(there.receive())
        received.extend(there.frames())

    reader = threading.Thread(target=read)
    reader.start()
    here.close()
    reader.join()
    assert received == [{"do": "shell", "text": "ä\n"}, (line.DATA, b"x" * 70000), (line.END, b"")]


def test_a_line_that_ends_says_so() -> None:
    here, there = map(line.Line, socket.socketpair())
    here.socket.sendall(b'{"half":')
    here.close()
    assert there.receive() is None and list(there.frames()) == []


def test_a_deep_directory_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-name-of-a-directory"] * 6)
    deep.mkdir(parents=True)
    with line.listen(deep / "socket") as listener:
        here = line.connect(deep / "socket")
        sock, _ = listener.accept()
        here.send({"do": "status"})
        assert line.Line(sock).receive() == {"do": "status"}


# -- sessions --------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "lvslab" / "train"


def _session(state: Path, name: str) -> Path:
    directory = state / name
    directory.mkdir(parents=True)
    (directory / "lock").touch()
    (directory / "session.json").write_text(json.dumps({"lab": name}))
    return directory


def test_without_a_running_lab_the_next_step_is_named(state: Path) -> None:
    with pytest.raises(UsageError, match=r"no training lab is running; .*train start LAB"):
        session.the_session(None)
    with pytest.raises(UsageError, match="lab 'x': is not running; see: lvslab train list"):
        session.the_session("x")


def test_a_lab_runs_as_long_as_its_keeper_holds_the_lock(state: Path) -> None:
    directory = _session(state, "a")
    assert session.sessions() == []
    with (directory / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [each.name for each in session.sessions()] == ["a"] and session.the_session(None).lab == "a"
        with pytest.raises(UsageError, match="lab 'a': is running already; stop it first"):
            session.start(session.Order("a"), "a", print)
        with pytest.raises(LabError, match=r"lab 'a': its keeper is gone .*keeper\.log"):
            session.the_session("a").ask({"do": "status"})


def test_of_several_labs_one_must_be_named(state: Path) -> None:
    locks = [(_session(state, name) / "lock").open() for name in ("a", "b")]
    for lock in locks:
        fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match="several labs are running: a, b; say which: --name NAME"):
        session.the_session(None)
    assert session.the_session("b").name == "b"
    for lock in locks:
        lock.close()


def test_what_was_passed_is_remembered_and_cannot_be_written_by_hand(state: Path) -> None:
    assert session.passed() == set()
    for lab in ("a", "b"):
        ledger.Ledger(ledger.folder(state, lab) / ledger.FILE, ledger.key_of(state)).note("passed")
    assert session.passed() == {"a", "b"}
    forged = ledger.folder(state, "c") / ledger.FILE
    ledger.Ledger(forged, b"another key").note("passed")
    assert session.passed() == {"a", "b"}


def test_status_tells_what_ended_labs_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = session.state_directory()
    record = ledger.folder(place, "no-forwarding") / ledger.FILE
    book = ledger.Ledger(record, ledger.key_of(place))

    def status(*arguments: str) -> str:
        assert train.main(["status", *arguments], standalone_mode=False) == 0
        return capsys.readouterr().out

    book.note("started")
    book.note("command", **{"node": "lvs", "shell": "lvs.1", "command": "ip a"})
    book.note("check", passed=False, points=[["served", "pass"], ["routed", "fail"]], solved=False)
    assert re.search(r"^no-forwarding +1 of 2 points +0 +1 +0 +0 *$", status(), re.MULTILINE)
    book.note("passed")
    assert re.search(r"^no-forwarding +passed ", status("--name", "no-forwarding"), re.MULTILINE)
    with pytest.raises(UsageError, match="lab 'other': is not running"):
        status("--name", "other")
    record.write_text(record.read_text().replace("ip a", "ip r"))
    (ended,) = json.loads(status("--json"))["ended"]
    assert not ended["passed"] and "line 2: was not written by the lab" in ended["trouble"]
