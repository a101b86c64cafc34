"""The doctor on the machine that it runs on: here a director that is a guest with programs of its
own.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import click

import lvslab
from lvslab.doctor.evidence import Packet
from lvslab.doctor.watch import watch_here
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.traffic import http
from tests.lab.conftest import in_sandbox, run_lvslab

_OTHER_PORT = 81
_AS_USER = "setpriv --reuid 1000 --regid 1000 --clear-groups "


_ANOTHER_TABLE = f"""\
ipvsadm -C
ipvsadm -A -t 10.0.0.10:{_OTHER_PORT} -s rr
ipvsadm -a -t 10.0.0.10:{_OTHER_PORT} -r 10.0.1.12:80 -m
"""


def _on_a_director(logs: Path) -> dict[str, tuple[int, str, str]]:
    """Run `lvslab doctor --here` in a director that does not forward, as root and as an ordinary
    user; with that cured; and with another fault, which only shows in what does not come back.
    """
    plan = make_plan(LabSpec.of("nat", without=["ip-forward"]), probe.kernels_here(tuple(Need)))
    with Lab(plan, logs) as lab:
        node = lab.director
        for module in (
            lvslab,
            click,
        ):  # a guest does not see everybody's home directory, where a virtual environment may be
            source = Path(module.__file__ or "").parent
            shutil.copytree(
                source, node.directory / "lib" / module.__name__, ignore=shutil.ignore_patterns("__pycache__")
            )
        command = (
            f"env PYTHONPATH={node.inside}/lib PYTHONDONTWRITEBYTECODE=1 python3 -m lvslab doctor --here"
            " --json"
        )
        table = node.run("ipvsadm -S -n; sysctl -a 2>/dev/null | grep net.ipv4 | grep -v random").out
        answers = {"root": node.run(command, timeout=60), "user": node.run(_AS_USER + command, timeout=60)}
        assert (
            node.run("ipvsadm -S -n; sysctl -a 2>/dev/null | grep net.ipv4 | grep -v random").out == table
        ), "it changed something"
        node.run("echo 1 >/proc/sys/net/ipv4/ip_forward").check(node.name, "ip_forward")
        http.get(lab.clients[0], f"http://{plan.addresses.vip}/", 2)
        answers["cured"] = node.run(command, timeout=60)
        lab.node("rs2").run("ip route del default").check("rs2", "ip route del default")
        node.run(_ANOTHER_TABLE).check(node.name, _ANOTHER_TABLE)
        http.get(lab.clients[0], f"http://{plan.addresses.vip}:{_OTHER_PORT}/", 2, timeout=0.5)
        answers["no way back"] = node.run(command, timeout=60)
        return {who: (done.code, done.out, done.err) for who, done in answers.items()}


def test_a_director_is_looked_at_from_within_also_by_an_ordinary_user(tmp_path: Path) -> None:
    answers = in_sandbox(_on_a_director, tmp_path)
    for who in ("root", "user"):
        code, out, err = answers[who]
        assert (code, [each["name"] for each in json.loads(out)["results"]]) == (
            1,
            ["ip-forward-off"],
        ), answers[who]
        refused = "ipvsadm: Can't initialize ipvs: Permission denied (you must be root)"
        assert (refused in err) is (who == "user")
    code, out, _ = answers["cured"]
    assert (code, json.loads(out)["results"]) == (0, [])
    code, out, _ = answers["no way back"]
    assert (code, [(each["name"], each["certainty"]) for each in json.loads(out)["results"]]) == (
        1,
        [("wrong-gateway", "likely")],
    )


def test_where_there_is_no_virtual_server_it_cannot_look() -> None:
    def no_ip_vs() -> tuple[int, str, str]:
        done = run_lvslab("doctor", "--here")
        return done.code, done.out, done.err

    if Path("/proc/net/ip_vs").exists():
        assert no_ip_vs()[0] in (0, 1)
        return
    code, out, err = no_ip_vs()
    assert (code, out) == (4, "")
    assert "has no IP virtual server" in err and "modprobe ip_vs" in err


def _watched() -> list[Packet]:
    """What is seen of datagrams from one end of a link to the other, both on this machine."""
    for command in (
        "ip link add one type veth peer name other",
        "ip address add 192.0.2.1/24 dev one",
        "ip link set one up",
        "ip link set other up",
        "ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev one",
    ):
        subprocess.run(command.split(), check=True)
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while not over.is_set():
                sock.sendto(b"hello", ("192.0.2.2", 5353))
                time.sleep(0.05)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        return [each for each in watch_here("me", 0.5) if each.dport == 5353]
    finally:
        over.set()
        sender.join()


def test_a_capture_tells_links_and_directions() -> None:
    packets: list[Any] = in_sandbox(_watched)
    assert {(each.machine, each.link, each.sent, each.body) for each in packets} == {
        ("me", "one", True, b"hello"),
        ("me", "other", False, b"hello"),
    }
