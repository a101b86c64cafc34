"""The real programs in a guest director: a dead server leaves the table and comes back; without a
control it stays.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lvslab.control.base import ControlFile
from lvslab.control.controls import HealthSettings, control_named
from lvslab.control.keepalived import SyncDaemon, Vrrp, keepalived_command, keepalived_files, vrrp_ready
from lvslab.errors import LabError
from lvslab.ipvs.service import VirtualService
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.daemon import Daemon, health_daemon
from lvslab.lab.lab import Lab
from lvslab.lab.servers import start_nginx
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.traffic import http
from tests.lab.conftest import in_sandbox

SECONDS = 120.0
"""How long a test waits for what must happen: far longer than any bound, because the machine may be
busy.
"""

patient = partial(HealthSettings, timeout=30.0)
"""Settings of checks that give a living server all the time that a busy machine may need; a dead
one refuses at once.
"""

pytestmark = pytest.mark.usefixtures("quickest_guests")


class Scene:
    """A lab with two real servers in the table, and a third that is in none."""

    def __init__(self, lab: Lab, logs: Path) -> None:
        self.lab, self.logs = lab, logs
        self.services: tuple[VirtualService, ...] = tuple(
            dataclasses.replace(each, real_servers=each.real_servers[:2]) for each in lab.plan.services
        )
        self.servers = tuple(each.name for each in self.services[0].real_servers)

    def table(self) -> dict[str, int]:
        """Weights of the HTTP service's servers."""
        service = next(each for each in self.lab.ipvsadm.save() if each.name == self.services[0].name)
        return {each.name: each.weight for each in service.real_servers}

    def await_table(self, condition: Callable[[Mapping[str, int]], bool]) -> dict[str, int]:
        deadline = time.monotonic() + SECONDS
        while not condition(table := self.table()):
            assert time.monotonic() < deadline, f"the table stays at {table}"
        return table

    def kill(self, *numbers: int) -> None:
        """End the web servers of real servers."""
        for number in numbers:
            server = self.lab.servers[number]
            server.run(f"kill -9 {(server.directory / 'nginx.pid').read_text()}").check(server.name, "kill")

    def revive(self, *numbers: int) -> None:
        for number in numbers:
            start_nginx(self.lab.servers[number])


def in_scene(work: Callable[[Scene], Any], mode: str = "nat", clear: bool = True, **options: Any) -> Any:
    """Run something in a lab whose director is a guest; `clear`: with an empty table."""

    def inside() -> Any:
        kernels = probe.kernels_here([Need.IP_VS], "uml")
        plan = make_plan(LabSpec.of(mode, servers=3, kernels=["uml"], **options), kernels)
        with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs)) as lab:
            scene = Scene(lab, Path(logs))
            lab.ipvsadm.clear()
            if not clear:
                lab.ipvsadm.restore(scene.services)
            return work(scene)

    return in_sandbox(inside)


def watched(scene: Scene, name: str, settings: HealthSettings) -> Daemon:
    return health_daemon(scene.lab.director, control_named(name), scene.services, settings, scene.logs)


@pytest.mark.parametrize(
    ("name", "mode", "settings"),
    [
        ("mon", "nat", patient(check="http")),
        ("mon", "dr", patient(quiescent=True)),
        ("ldirectord", "nat", patient(check="http")),
        ("ldirectord", "tun", patient(check="misc")),
        ("keepalived", "nat", patient(interval=0.2)),
        ("keepalived", "dr", patient(check="http", interval=0.2, quiescent=True, retries=2)),
        ("keepalived", "tun", patient(check="misc", interval=0.5)),
    ],
    ids=lambda each: str(each.check) if isinstance(each, HealthSettings) else each,
)
def test_a_dead_server_is_taken_out_and_comes_back(name: str, mode: str, settings: HealthSettings) -> None:
    def work(scene: Scene) -> Any:
        control = control_named(name)
        with watched(scene, name, settings) as daemon:
            daemon.await_lines(control.ready(scene.services, settings), SECONDS)
            complete = sorted(map(str, scene.lab.ipvsadm.save())) == sorted(map(str, scene.services))
            scene.kill(0)
            out = scene.await_table(lambda table: not table.get(scene.servers[0]))
            scene.revive(0)
            back = scene.await_table(lambda table: bool(table.get(scene.servers[0])))
            daemon.check()
        return scene.servers, complete, out, back, scene.table()

    (first, second), complete, out, back, after = in_scene(work, mode, clear=control_named(name).builds_table)
    assert complete, "all services with scheduler, persistence, weights and forwarding"
    assert out == ({first: 0, second: 1} if settings.quiescent else {second: 1})
    assert back == after == {first: 1, second: 1}, "the table stays when the control is stopped"


def test_without_a_control_a_dead_server_stays() -> None:
    def work(scene: Scene) -> Any:
        scene.kill(0)
        url = f"http://{scene.lab.plan.addresses.vip}/"
        answers = [http.get(scene.lab.clients[0], url)[0].error is None for _ in range(4)]
        return scene.table(), answers

    table, answers = in_scene(work, clear=False)
    assert table == {"10.0.1.11:8080": 1, "10.0.1.12:8080": 1}
    assert sorted(answers) == [
        False,
        False,
        True,
        True,
    ], "round robin still sends every other client to the dead server"


@pytest.mark.parametrize("name", ["ldirectord", "keepalived"])
def test_the_sorry_server_stands_in_while_all_are_dead(name: str) -> None:
    settings = patient(sorry_server="10.0.1.13:8080")

    def work(scene: Scene) -> Any:
        with watched(scene, name, settings) as daemon:
            daemon.await_lines(control_named(name).ready(scene.services, settings), SECONDS)
            scene.kill(0, 1)
            sorry = scene.await_table(lambda table: "10.0.1.13:8080" in table and len(table) == 1)
            answer = http.get(scene.lab.clients[0], f"http://{scene.lab.plan.addresses.vip}/")[0]
            scene.revive(0, 1)
            scene.await_table(lambda table: sorted(table) == list(scene.servers))
        return sorry, answer.error, answer.server

    sorry, error, server = in_scene(work)
    assert sorry == {"10.0.1.13:8080": 1}
    assert error is None and server == "rs3"


@pytest.mark.parametrize(
    ("name", "file", "word", "message"),
    [
        (
            "mon",
            "mon.cf",
            "alertafter",
            r"lvs: mon ended with status \d+; it said last: .*unknown syntax \[bogus 1\]",
        ),
        (
            "ldirectord",
            "ldirectord.cf",
            "failurecount",
            r"lvs: ldirectord ended with status 2; it said last: .*Unknown command bogus",
        ),
    ],
    ids=["mon", "ldirectord"],
)
def test_a_broken_configuration_is_told(name: str, file: str, word: str, message: str) -> None:
    settings = patient()

    def work(scene: Scene) -> None:
        control, node = control_named(name), scene.lab.director
        files = dict(control.files(scene.services, settings, node.inside / name))
        files[file] = ControlFile(files[file].text.replace(word, "bogus"))
        with Daemon(node, name, control.command(node.inside / name), files, scene.logs) as daemon:
            daemon.await_lines(control.ready(scene.services, settings), SECONDS)

    with pytest.raises(LabError, match=message):
        in_scene(work)


def test_what_keepalived_only_warns_of_is_said_before_it_starts() -> None:
    settings = patient()

    def work(scene: Scene) -> str:
        control, node = control_named("keepalived"), scene.lab.director
        files = dict(control.files(scene.services, settings, node.inside / "keepalived"))
        text = files["keepalived.conf"].text.replace("delay_loop", "bogus")
        files["keepalived.conf"] = ControlFile(text)
        command = control.command(node.inside / "keepalived")
        with Daemon(node, "keepalived", command, files, scene.logs) as daemon:
            daemon.await_lines(control.ready(scene.services, settings), SECONDS)
        return next(scene.logs.rglob("keepalived.log")).read_text()

    said = in_scene(work)
    assert said.index("Unknown keyword 'bogus'") < said.index("Starting Keepalived")


def test_one_keepalived_checks_servers_and_holds_the_addresses() -> None:
    settings = patient(interval=0.2)

    def work(scene: Scene) -> Any:
        node, plan = scene.lab.director, scene.lab.plan
        vrrp = Vrrp(
            priority=100,
            outer=plan.addresses.outer,
            inner=plan.addresses.inner,
            outer_addresses=("10.0.0.10/32",),
            inner_addresses=("10.0.1.254/24",),
            advert=0.1,
            sync=SyncDaemon(plan.addresses.inner, 7),
        )
        directory = node.inside / "keepalived"
        files = keepalived_files(directory, services=scene.services, settings=settings, vrrp=vrrp)
        show = "ip -br address; ipvsadm -L --daemon"
        with Daemon(node, "keepalived", keepalived_command(directory), files, scene.logs) as daemon:
            ready = control_named("keepalived").ready(scene.services, settings)
            daemon.await_lines((*vrrp_ready(vrrp), *ready), SECONDS)
            daemon.await_lines([rf"\({each.name}\) Entering MASTER" for each in vrrp.instances], SECONDS)
            held = node.run(show).out
            scene.kill(0)
            scene.await_table(lambda table: len(table) == 1)
        return held, node.run(show).out

    held, left = in_scene(work, without=["vip"])
    for each in ("10.0.0.10/32", "10.0.1.254/24", "master sync daemon", "syncid=7"):
        assert each in held and each not in left


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "frozen"])
def test_a_daemon_in_a_director_that_is_gone_is_given_up_in_time(fault: signal.Signals) -> None:
    settings = patient(interval=0.2)

    def work(scene: Scene) -> tuple[float, str]:
        daemon = watched(scene, "keepalived", settings)
        daemon.start()
        daemon.await_lines(control_named("keepalived").ready(scene.services, settings), SECONDS)
        guest = scene.lab.guest("lvs")
        assert guest is not None
        os.kill(guest.pid, fault)
        error = ""
        if fault == signal.SIGKILL:
            try:
                daemon.await_line("never said", SECONDS)
            except LabError as gone:
                error = str(gone)
        began = time.monotonic()
        daemon.stop(timeout=0.5)
        return time.monotonic() - began, error

    took, error = in_scene(work)
    assert took < SECONDS
    if fault == signal.SIGKILL:
        assert error.startswith("lvs: keepalived was ended by SIGKILL")
