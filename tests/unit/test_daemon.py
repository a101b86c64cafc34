"""A daemon that runs in a node: its lines, its files, its death, its end."""

from __future__ import annotations

import io
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lvslab.control.base import checked
from lvslab.control.controls import ControlFile, HealthSettings
from lvslab.errors import LabError, UsageError
from lvslab.lab.daemon import Daemon, health_daemon
from tests.unit.health_cases import MON, services

SECONDS = 60.0
"""How long a test waits for what must happen: far longer than it takes, because the machine may be
busy.
"""


class Node(SimpleNamespace):
    """A node without a network."""

    def popen(self, *arguments: Any, **options: Any) -> subprocess.Popen[Any]:
        return subprocess.Popen(*arguments, start_new_session=True, **options)

    def make_folder(self, name: str) -> Path:
        (folder := Path(self.directory) / name).mkdir(exist_ok=True)
        return folder


@pytest.fixture
def daemon(tmp_path: Path) -> Callable[..., Daemon]:
    def make(command: str, files: Mapping[str, ControlFile] | None = None, **options: Any) -> Daemon:
        (tmp_path / "node").mkdir(exist_ok=True)
        node: Any = Node(name="lvs", directory=tmp_path / "node", inside=tmp_path / "node")
        return Daemon(node, "program", command, files or {}, tmp_path / "logs", **options)

    return make


def test_lines_are_stamped_on_arrival_logged_and_heard(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    began = time.time()
    with daemon(
        "echo one; echo two >&2; exec sleep 100", listener=lambda t, line: heard.append((t, line))
    ) as running:
        t, line = running.await_line("^two$", SECONDS)
        running.await_line("one", SECONDS)
    assert began <= t <= time.time() and line == "two"
    assert list(running.lines) == heard and [text for _, text in heard] == ["one", "two"]
    log = (tmp_path / "logs/lvs/program.log").read_text().splitlines()
    assert [each.split(" ", 1)[1] for each in log] == ["one", "two"]
    assert float(log[1].split()[0]) == pytest.approx(t, abs=1e-5)


def test_files_are_there_for_the_program_and_for_the_reader_of_the_run(
    daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    files = {"say": ControlFile("#!/bin/sh\necho said\n", executable=True), "a.cf": ControlFile("x = 1\n")}
    folder = tmp_path / "node/program"
    with daemon(f"cat {folder}/a.cf; {folder}/say; exec sleep 100", files) as running:
        running.await_lines(["said", "x = 1"], SECONDS)
    assert (tmp_path / "logs/lvs/a.cf").read_text() == "x = 1\n"
    assert (tmp_path / "logs/lvs/say").stat().st_mode & 0o111


def test_a_death_is_told_with_status_and_last_words(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo started; echo 'line 3: what is bogus?' >&2; exit 3") as running:
        running.await_line("started", SECONDS)
        with pytest.raises(
            LabError,
            match=r"^lvs: program ended with status 3; it said last: started \| line 3: what is bogus\?$",
        ):
            running.await_line("never", SECONDS)
        with pytest.raises(LabError, match="status 3"):
            running.check()


def test_a_death_by_a_signal_is_told(daemon: Callable[..., Daemon]) -> None:
    with daemon("kill -SEGV $$") as running:
        with pytest.raises(LabError, match="was ended by SIGSEGV; it said last: nothing"):
            running.await_line("never", SECONDS)


def test_a_line_that_does_not_come_is_told_with_what_came_instead(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo something else; exec sleep 100") as running:
        running.await_line("something", SECONDS)
        with pytest.raises(
            LabError,
            match=r"program did not say 'Startup' within 0\.1 s; it said last: something else; its log: ",
        ):
            running.await_line("Startup", 0.1)
        running.check()


def test_a_pattern_that_is_there_twice_waits_for_two_lines(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo a1; echo b1; echo a2; exec sleep 100") as running:
        assert [line for _, line in running.await_lines(["a", "b", "a"], SECONDS)] == ["a1", "b1", "a2"]
        with pytest.raises(LabError, match="did not say 'b'"):
            running.await_lines(["b", "b"], 0.1)


def test_lines_from_before_do_not_count(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo up; exec sleep 100") as running:
        t, _ = running.await_line("up", SECONDS)
        with pytest.raises(LabError, match=r"did not say 'up\$'"):
            running.await_line("up$", 0.1, since=t + 0.000001)


@pytest.mark.parametrize(
    "command", ["exec sleep 100", "trap '' TERM; echo deaf; while :; do sleep 100; done"]
)
def test_stopping_ends_it_in_any_case(command: str, daemon: Callable[..., Daemon]) -> None:
    running = daemon(f"echo up; {command}")
    running.start()
    running.await_line("deaf" if "deaf" in command else "up", SECONDS)
    running.stop(timeout=0.2)
    assert not running.running
    running.stop()
    running.check()  # it was asked to end


def test_a_killed_one_can_be_started_again(daemon: Callable[..., Daemon]) -> None:
    with daemon("echo up $$; exec sleep 100") as running:
        _, first = running.await_line("up", SECONDS)
        with pytest.raises(LabError, match="runs already"):
            running.start()
        running.kill()
        running.check()
        assert not running.running
        with pytest.raises(LabError, match="was ended before it said 'never'"):
            running.await_line("never", SECONDS)
        running.start()
        _, second = running.await_line("up", SECONDS)
    assert first != second


def test_the_number_of_a_killed_one_stops_no_other(daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    """As keepalived's: the number may be a zombie's, and it says "daemon is already running"."""
    numbers = tmp_path / "node" / "program" / "checkers_pid"
    with daemon(f"[ ! -e {numbers} ] || exit 0; echo $$ >{numbers}; echo up; exec sleep 100") as running:
        running.await_line("up", SECONDS)
        running.kill()
        assert numbers.exists()
        running.start()
        running.await_line("up", SECONDS)


def test_a_listener_that_fails_does_not_hold_the_program_up(daemon: Callable[..., Daemon]) -> None:
    def fail(t: float, line: str) -> None:
        raise ValueError(line)

    more_than_a_pipe_holds = "seq -f %0100.0f 1 1000"  # pipe(7): 65,536 bytes
    with daemon(f"{more_than_a_pipe_holds}; echo done; exec sleep 100", listener=fail) as running:
        running.await_line("done", SECONDS)
        with pytest.raises(LabError, match=r"could not be handled: ValueError\('0{99}1'\)"):
            running.check()


class DeadNode(Node):
    """A node whose kernel has died: no signal reaches its programs, and waiting for them ends only
    by time.
    """

    def popen(self, *arguments: Any, **options: Any) -> Any:
        ended = threading.Event()

        def refuse(number: signal.Signals) -> None:
            raise LabError("lvs: guest kernel died")

        def wait(timeout: float) -> int:
            ended.wait(timeout)
            raise subprocess.TimeoutExpired("program", timeout)

        return SimpleNamespace(stdout=io.BytesIO(), poll=lambda: None, wait=wait, send_signal=refuse)


def test_stopping_in_a_dead_node_neither_waits_nor_raises(tmp_path: Path) -> None:
    node: Any = DeadNode(name="lvs", directory=tmp_path, inside=tmp_path)
    running = Daemon(node, "program", "true", {}, tmp_path / "logs")
    running.start()
    running.stop()
    with pytest.raises(LabError, match="guest kernel died"):
        running.kill()


def test_a_health_daemon_has_its_controls_files(tmp_path: Path) -> None:
    node: Any = Node(name="lvs", directory=tmp_path, inside=Path("/mnt"))
    with pytest.raises(UsageError, match="no quorum"):
        health_daemon(node, MON, services(), HealthSettings(quorum=3), tmp_path)
    assert health_daemon(node, MON, services(), HealthSettings(), tmp_path).name == "mon"


def test_services_are_changed_without_being_checked_when_their_port_is_not_named() -> None:
    both = HealthSettings(ports=(80, 5201))
    assert {service.port for service, _ in checked(services(), both)} == {80, 5201}
    only = replace(both, ports=(80,))
    assert {service.port for service, _ in checked(services(), only)} == {80}
