"""The pytest plugin as users meet it: sessions of their own tests, against real directors."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lvslab.errors import LabError
from lvslab.testing import process
from tests.lab.conftest import run_lvslab

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "test_director.py"
NO_SANDBOX = ("unshare", "-Ur", "sh", "-c", 'echo 0 >/proc/sys/user/max_net_namespaces && exec "$@"', "sh")
"""From here on no network namespace can be made."""


@dataclass(frozen=True)
class Session:
    """A finished pytest session: exit code, output, outcome of each test by name, and the run
    directories that are left.
    """

    code: int
    out: str
    outcomes: dict[str, str]
    texts: dict[str, str]
    runs: list[Path]


def command(folder: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        "--rootdir",
        str(folder),
        *arguments,
    ]


def run_pytest(folder: Path, text: str, *arguments: str, prefix: tuple[str, ...] = ()) -> Session:
    folder.mkdir(exist_ok=True)
    (folder / "test_it.py").write_text(text)
    done = subprocess.run(
        [*prefix, *command(folder, "--junitxml=junit.xml", *arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
    )
    outcomes, texts = {}, {}
    for case in ET.parse(folder / "junit.xml").iter("testcase"):
        bad = [each for each in case if each.tag in ("failure", "error", "skipped")]
        outcomes[case.get("name", "")] = "+".join(each.tag for each in bad) or "passed"
        texts[case.get("name", "")] = "\n".join(f"{each.get('message')}\n{each.text}" for each in bad)
    runs = folder / "runs"
    return Session(
        done.returncode,
        done.stdout + done.stderr,
        outcomes,
        texts,
        sorted(runs.iterdir()) if runs.exists() else [],
    )


# -- labs ------------------------------------------------------------------------------------------


LABS = """
import os, signal
import pytest

@pytest.mark.lvs(servers=3)
def test_passes(lvs_lab):
    answers = lvs_lab.get(6)
    assert set(answers[:3]) == {"rs1", "rs2", "rs3"} and answers[3:] == answers[:3]

@pytest.mark.lvs(mode="dr", without=["arp"])
def test_breaks_its_contract(lvs_lab):
    lvs_lab.verify()

def test_loses_its_director(lvs_lab):
    os.kill(lvs_lab.guest("lvs").pid, signal.SIGKILL)

def test_kernel_complains(lvs_lab):
    lvs_lab.run("echo 512 >/proc/sys/kernel/tainted")
"""


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_pytest(tmp_path_factory.mktemp("labs"), LABS, "--lvs-kernel", "uml")


def of(session: Session, test: str) -> Path:
    """The run directory of a test that is left."""
    return next(run for run in session.runs if test in run.name)


def test_outcomes(labs: Session) -> None:
    expected = {
        "test_passes": "passed",
        "test_breaks_its_contract": "failure",
        "test_loses_its_director": "error",
    }
    expected["test_kernel_complains"] = "error"
    assert labs.outcomes == {f"{name}[uml]": outcome for name, outcome in expected.items()}, labs.out
    assert labs.code == pytest.ExitCode.TESTS_FAILED


def test_run_directories_of_failed_tests_are_kept_and_named(labs: Session) -> None:
    assert len(labs.runs) == 3 and not any("test_passes" in run.name for run in labs.runs)
    for run in labs.runs:
        assert str(run) in labs.out
        assert sum(str(run) in text for text in labs.texts.values()) == 1
        record = json.loads((run / "run.json").read_text())
        assert (record["kind"], [each["verdict"] for each in record["results"]][-1]) == ("test", "fail")
        assert record["labs"][0]["nodes"] and record["finished"]


def test_a_broken_contract_shows_the_packet(labs: Session) -> None:
    text = labs.texts["test_breaks_its_contract[uml]"]
    wrong = r"handed to rs[12] \(real server, MAC [\da-f:]{17}\); expected: to director"
    assert "DR: tcp: " in text and re.search(wrong, text), text
    assert "lvslab events" in text and "lab ready after" in text
    run = of(labs, "test_breaks_its_contract")
    assert (run / "captures" / "dr.pcapng").stat().st_size > 0
    assert json.loads((run / "run.json").read_text())["status"] == "complete"


def test_a_dead_director_is_an_error_with_its_last_words(labs: Session) -> None:
    text = labs.texts["test_loses_its_director[uml]"]
    assert "guest kernel died" in text and "lvs.console ends with:" in text
    assert json.loads((of(labs, "test_loses_its_director") / "run.json").read_text())["status"] == "broken"


def test_a_warning_of_the_kernel_is_an_error(labs: Session) -> None:
    assert "its kernel reported a warning (WARN_ON)" in labs.texts["test_kernel_complains[uml]"]
    assert (of(labs, "test_kernel_complains") / "logs" / "nat" / "lvs.dmesg").stat().st_size > 0


def test_the_documentation_s_example_passes(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, EXAMPLE.read_text(), "--lvs-require")
    assert done.code == 0, done.out
    assert set(done.outcomes.values()) == {"passed"} and len(done.outcomes) == 6
    assert not (tmp_path / "runs").exists(), "all passed, so nothing is left"


# -- what has nothing to do with labs: the protocol in the sandbox ---------------------------------


WITHOUT_LABS = """
import os, signal, time, warnings
import pytest
from pathlib import Path

@pytest.fixture(scope="module")
def wide():
    yield os.readlink("/proc/self/ns/pid")
    with Path("ends").open("a") as log:
        print(os.readlink("/proc/self/ns/pid"), file=log)

def test_wide_outside(wide):
    Path("session").write_text(wide)

def test_wide_inside(wide, lvs_kernel, tmp_path):
    assert wide == Path("session").read_text() != os.readlink("/proc/self/ns/pid")
    assert not Path("ends").exists()

def test_private(lvs_kernel):
    assert [each for each in os.listdir("/sys/class/net") if each != "lo"] == []
    assert lvs_kernel.has("ip_vs") and lvs_kernel.version >= (5, 0)

def test_speaks(lvs_kernel):
    print("said before the end")
    warnings.warn("a word of warning")
    assert False

@pytest.mark.xfail(strict=True)
def test_expected(lvs_kernel):
    assert False

def test_killed(lvs_kernel):
    os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.lvs(timeout=1)
def test_hangs(lvs_kernel):
    signal.pause()

def test_asked_for(request):
    request.getfixturevalue("lvs_lab")

def test_last(wide):
    assert not Path("ends").exists()
"""


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, Path]:
    folder = tmp_path_factory.mktemp("protocol")
    return run_pytest(folder, WITHOUT_LABS), folder


def test_protocol_outcomes(protocol: tuple[Session, Path]) -> None:
    bad = {name: outcome for name, outcome in protocol[0].outcomes.items() if outcome != "passed"}
    failing = ("test_speaks", "test_killed", "test_hangs", "test_asked_for")
    assert bad == {**dict.fromkeys(failing, "failure"), "test_expected": "skipped"}, protocol[0].out
    assert len(protocol[0].outcomes) == 9


def test_wider_fixtures_of_the_session_end_in_the_session_and_once(protocol: tuple[Session, Path]) -> None:
    assert (protocol[1] / "ends").read_text().split() == [(protocol[1] / "session").read_text()]


def test_output_and_warnings_come_back(protocol: tuple[Session, Path]) -> None:
    assert "said before the end" in protocol[0].out
    assert "UserWarning: a word of warning" in protocol[0].out


def test_a_killed_test_is_a_failure_that_says_how(protocol: tuple[Session, Path]) -> None:
    assert "ended with signal 9 (SIGKILL) before it had reported" in protocol[0].texts["test_killed"]


def test_a_test_out_of_time_shows_where_it_was(protocol: tuple[Session, Path]) -> None:
    text = protocol[0].texts["test_hangs"]
    assert "no end within 1 s" in text and "signal.pause()" in text


def test_fixtures_outside_of_a_sandbox_say_so(protocol: tuple[Session, Path]) -> None:
    assert "must be named as arguments" in protocol[0].texts["test_asked_for"]


SHORT = """
def test_one(lvs_kernel): assert False
def test_two(lvs_kernel): pass
"""


def test_it_stops_at_the_first_failure(tmp_path: Path) -> None:
    assert run_pytest(tmp_path, SHORT, "-x").outcomes == {"test_one": "failure"}


def test_a_kernel_that_cannot_is_a_skip_or_a_failure(tmp_path: Path) -> None:
    has = {each["name"]: each["has"] for each in run_lvslab("kernels", "--json").data["kernels"]}["host"]
    text = "def test_it(lvs_kernel): assert lvs_kernel.name in ('host', 'uml')"
    both = ("--lvs-kernel", "uml", "--lvs-kernel", "host")
    done = run_pytest(tmp_path / "skips", text, *both)
    assert done.outcomes == {
        "test_it[uml]": "passed",
        "test_it[host]": "passed" if "ip_vs" in has else "skipped",
    }, done.out
    required = run_pytest(tmp_path / "fails", text, *both, "--lvs-require")
    assert required.outcomes == {
        "test_it[uml]": "passed",
        "test_it[host]": "passed" if "ip_vs" in has else "error",
    }
    if "ip_vs" not in has:
        assert (
            "lacks ip_vs" in done.texts["test_it[host]"]
            and "--lvs-require" in required.texts["test_it[host]"]
        )


def test_a_machine_that_cannot_is_a_skip_or_a_failure(tmp_path: Path) -> None:
    text = SHORT + "def test_three(): pass\n"
    done = run_pytest(tmp_path / "skips", text, prefix=NO_SANDBOX)
    assert done.outcomes == {"test_one": "skipped", "test_two": "skipped", "test_three": "passed"}, done.out
    assert "namespaces" in done.texts["test_two"]
    required = run_pytest(tmp_path / "fails", text, "--lvs-require", prefix=NO_SANDBOX)
    assert required.outcomes == {"test_one": "error", "test_two": "error", "test_three": "passed"}


def test_a_process_out_of_time_is_killed() -> None:
    heard = []

    def work(send: process.Send) -> None:
        send("pid", os.getpid())
        signal.pause()

    with pytest.raises(LabError, match=r"killed: no end within 3 s"):
        process.carry_out(work, lambda word, value: heard.append((word, value)), limit=3)
    assert heard == [("pid", 2)], "it was there, as the first process after the sandbox's own"
    assert process.carry_out(lambda send: None, lambda word, value: None, limit=20) == 0


# -- interruptions ---------------------------------------------------------------------------------


def children(of: int) -> set[int]:
    """All processes below one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(") ")[2].split()[1])
            except OSError:
                continue
    found, new = set[int](), {of}
    while new := {pid for pid, parent in parents.items() if parent in new} - found:
        found |= new
    return found


@contextmanager
def waiting_test(folder: Path) -> Iterator[tuple[subprocess.Popen[str], set[int]]]:
    """A session whose test has a lab and waits; with all processes below it."""
    (folder / "test_it.py").write_text(
        "import signal\nfrom pathlib import Path\n"
        "def test_waits(lvs_lab):\n    Path('up').touch()\n    signal.pause()\ndef test_next(lvs_lab): pass\n"
    )
    session = subprocess.Popen(
        command(folder),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (folder / "up").exists():
            assert session.poll() is None and time.monotonic() < deadline, "the test does not begin"
            time.sleep(0.02)
        below = children(session.pid)
        assert len(below) > 5, "a guest, a web server, …"
        yield session, below
    finally:
        session.kill()
        session.wait()


def assert_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 10
    while left := {pid for pid in pids if Path(f"/proc/{pid}").exists()}:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


@pytest.mark.parametrize("whole_group", [True, False], ids=["ctrl-c", "kill -INT"])
def test_an_interruption_leaves_nothing(tmp_path: Path, whole_group: bool) -> None:
    with waiting_test(tmp_path) as (session, below):
        (os.killpg if whole_group else os.kill)(session.pid, signal.SIGINT)
        out, _ = session.communicate(timeout=60)
        assert session.returncode == pytest.ExitCode.INTERRUPTED, out
        assert "KeyboardInterrupt" in out and "passed" not in out
        assert_gone(below)
        assert not (tmp_path / "runs").exists()


def test_a_killed_session_leaves_no_process(tmp_path: Path) -> None:
    with waiting_test(tmp_path) as (session, below):
        session.kill()
        assert_gone(below)


def test_the_debugger_has_the_kernel_at_hand_and_all_the_time_it_wants(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(lvs_kernel):\n    assert lvs_kernel.name == 'none'\n")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, command(tmp_path, "--pdb", "--lvs-timeout", "2", "--lvs-kernel", "uml"))
    out, asked, deadline = "", False, time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([terminal], [], [], 0.1)[0]:
                continue
            try:
                out += os.read(terminal, 4096).decode(errors="replace")
            except OSError:  # the session has closed it
                break
            if "(Pdb)" in out and not asked:
                asked = True
                os.write(terminal, b"import time; time.sleep(2.5); print('kernel', lvs_kernel.name)\nc\n")
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert "kernel uml" in out, out
    assert "1 failed" in out and "no end within" not in out
    assert os.waitstatus_to_exitcode(status) == pytest.ExitCode.TESTS_FAILED
