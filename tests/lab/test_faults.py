"""Every fault is seen by packets while it lasts, is not there without it, and leaves all
as it was.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lvslab import faults
from lvslab.errors import CannotError, LabError, UsageError
from lvslab.events import Event, nobody
from lvslab.exitcodes import ExitCode
from lvslab.faults import base
from lvslab.host import programs
from lvslab.kernels import probe
from lvslab.kernels.needs import Need, any_kernel
from lvslab.kernels.uml import UmlGuest
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.runs.writer import RunWriter
from lvslab.scenario.experiment import Experiment
from lvslab.traffic import http
from tests.lab.conftest import in_sandbox

SECONDS = 30.0
"""How long a test waits for what must happen: far longer than it takes, because the machine may be
busy.
"""

REQUEST = """
import socket, sys
connected = ""
try:
    with socket.create_connection(("10.0.0.10", 80), float(sys.argv[1])) as sock:
        connected = "connected, then "
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(sock.makefile().read().split()[-3])
except TimeoutError:
    print(connected + "silence")
except OSError as error:
    print(connected + type(error).__name__)
"""
"""One HTTP request; unlike curl it tells a refused connection from one that finds no way."""


class Scene:
    """A lab whose director is a guest, what was told in it, and questions to its nodes."""

    def __init__(self, lab: Lab, events: list[Event]) -> None:
        self.lab, self.events = lab, events

    def answers(self, times: int) -> list[http.Answer]:
        """What the client gets from the virtual service."""
        return http.get(self.lab.clients[0], f"http://{self.lab.plan.addresses.vip}/", times)

    def answer(self, timeout: float = 5.0) -> str:
        """Who answers one request of the client, or what became of it."""
        script = f"{sys.executable} -I -S -c '{REQUEST}' {timeout}"
        return self.lab.clients[0].run(script).check("c1", "request").strip()

    def reaches(self, node: str, address: str) -> bool:
        """Whether a node's ping is answered."""
        return self.lab.node(node).run(f"ping -q -c 3 -i 0.2 -W 1 {address}").code == 0

    def arp(self, node: str, address: str) -> bool:
        """Whether a node learns the hardware address of another one anew."""
        interface = self.lab.plan.node(node).interfaces[0].name
        script = (
            f"ip neigh flush dev {interface}; ping -q -c 1 -W 1 {address} >/dev/null; ip neigh show to"
            f" {address} dev {interface}"
        )
        return "lladdr" in self.lab.node(node).run(script).out

    def state(self, *nodes: str) -> list[str]:
        """Addresses, links, routes and queues of nodes."""
        show = (
            "ip -br address; ip route; ip -o link | sed 's/.*mtu/mtu/; s/ state .*//'; tc qdisc show | cut"
            " -d' ' -f1,2,4-"
        )
        lines = [
            f"{node}: {line}"
            for node in nodes
            for line in self.lab.node(node).run(show).check(node, show).splitlines()
        ]
        return sorted(line for line in lines if "lo " not in line)

    def table(self) -> list[str]:
        """Services and real servers of the director's table, in no order."""
        return sorted(
            f"{each.name} {server}" for each in self.lab.ipvsadm.save() for server in each.real_servers
        )

    def told(self, kind: str) -> list[str]:
        return [event.text for event in self.events if event.kind == kind]


def in_scene(work: Callable[[Scene], Any], mode: str = "nat", **options: Any) -> Any:
    """Run something in a lab with two real servers of which only rs1 has weight, if nothing else is
    said.
    """

    def inside() -> Any:
        kernels = probe.kernels_here([Need.IP_VS, Need.NETEM, Need.IPIP], "uml")
        given = {"weights": (1, 0), "kernels": ["uml"], **options}
        plan = make_plan(LabSpec.of(mode, **given), kernels)
        events: list[Event] = []
        with tempfile.TemporaryDirectory() as logs, Lab(plan, Path(logs), events.append) as lab:
            return work(Scene(lab, events))

    return in_sandbox(inside)


def wait_for(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, problem


# -- real servers ----------------------------------------------------------------------------------


def test_a_killed_server_refuses() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer()
        with faults.server_killed(scene.lab, "rs1") as fault:
            during, arp = scene.answer(), scene.arp("rs2", "10.0.1.11")
        return before, during, arp, scene.answer(), fault.proof, scene.told("fault"), scene.told("repair")

    before, during, arp, after, proof, broken, repaired = in_scene(work)
    assert (before, during, after) == (
        "rs1",
        "ConnectionRefusedError",
        "rs1",
    ) and arp, "the machine itself is well"
    assert broken == [f"rs1: web server killed ({proof})"] and proof.endswith(" is gone")
    assert repaired == ["rs1: web server started again"]


def test_a_server_without_power_is_silent_even_to_arp() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer(), scene.arp("rs2", "10.0.1.11"), scene.state("rs1")
        with faults.server_power_off(scene.lab, "rs1"):
            during = scene.answer(timeout=1), scene.arp("rs2", "10.0.1.11")
        return before, during, (scene.answer(), scene.arp("rs2", "10.0.1.11"), scene.state("rs1"))

    before, during, after = in_scene(work)
    assert before[:2] == ("rs1", True) and during == ("silence", False)
    assert after == before


def test_a_hung_server_takes_connections_and_says_nothing() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer()
        with faults.server_hung(scene.lab, "rs1"):
            during = scene.answer(timeout=1)
        return before, during, scene.answer()

    assert in_scene(work) == ("rs1", "connected, then silence", "rs1")


def test_a_slow_server_lets_answers_wait() -> None:
    period = 0.4

    def stalls(answers: Iterable[http.Answer]) -> tuple[int, int]:
        """Answers that took half a period and more, and answers that never came."""
        answers = list(answers)
        return sum(each.total > period / 2 for each in answers), sum(
            each.error is not None for each in answers
        )

    def work(scene: Scene) -> Any:
        before = stalls(scene.answers(40))
        with faults.server_slow(scene.lab, "rs1", share=0.1, period=period):
            during = stalls(scene.answers(40))
        return before, during, stalls(scene.answers(40))

    before, during, after = in_scene(work)
    assert (before[1], during[1], after[1]) == (0, 0, 0)
    assert during[0] > max(before[0], after[0])


def test_a_flapping_server_goes_and_comes() -> None:
    def work(scene: Scene) -> Any:
        with faults.server_flapping(scene.lab, "rs1", down=0.3, up=0.3):
            for wanted in ("ConnectionRefusedError", "rs1", "ConnectionRefusedError", "rs1"):
                wait_for(lambda: scene.answer(timeout=1) == wanted, f"never {wanted}")  # noqa: B023
        after = [scene.answer() for _ in range(5)]
        return after, scene.told("fault"), scene.told("repair")

    after, broken, repaired = in_scene(work)
    assert after == ["rs1"] * 5
    assert "rs1: web server killed, time 2" in broken and any("flapping" in each for each in broken)
    assert repaired[-1].startswith("rs1: steady after ")


# -- links -----------------------------------------------------------------------------------------


def test_a_server_without_link_sees_it_and_is_out_of_reach() -> None:
    carrier = "cat /sys/class/net/rs1-eth0/carrier"

    def work(scene: Scene) -> Any:
        def seen() -> tuple[bool, str]:
            return scene.arp("rs2", "10.0.1.11"), scene.lab.node("rs1").run(carrier).out.strip()

        before = seen(), scene.state("rs1"), scene.answer()
        with faults.link_down(scene.lab, "rs1"):
            during = seen()
        return before, during, (seen(), scene.state("rs1"), scene.answer())

    before, during, after = in_scene(work)
    assert before[0] == (True, "1") and during == (False, "0")
    assert after == before


@pytest.mark.parametrize("mode", ["nat", "tun"])
def test_a_director_without_links_gets_its_routes_back(mode: str) -> None:
    def work(scene: Scene) -> Any:
        before = scene.reaches("c1", "10.0.0.1"), scene.answer(), scene.state("lvs")
        with faults.link_down(scene.lab, "lvs"):
            during = scene.reaches("c1", "10.0.0.1"), scene.answer(timeout=1), scene.state("lvs")
        return before, during, (scene.reaches("c1", "10.0.0.1"), scene.answer(), scene.state("lvs"))

    before, during, after = in_scene(work, mode)
    assert before[:2] == (True, "rs1") and not during[0] and during[1] != "rs1"
    assert not any("UP" in line for line in during[2] if "eth" in line) and after == before


def test_one_of_two_links_may_be_down() -> None:
    def work(scene: Scene) -> Any:
        with faults.link_down(scene.lab, "lvs", "s2"):
            during = (
                scene.reaches("c1", "10.0.0.1"),
                scene.reaches("rs1", "10.0.1.1"),
                scene.answer(timeout=1),
            )
        return during, scene.answer()

    during, after = in_scene(work)
    assert during[:2] == (True, False) and during[2] != "rs1" and after == "rs1"


def test_a_guest_server_without_link_gets_its_default_route_back() -> None:
    def work(scene: Scene) -> Any:
        before = scene.state("rs1")
        with faults.link_down(scene.lab, "rs1"):
            during = scene.answer(timeout=1), scene.state("rs1")
        return before, during, scene.state("rs1"), scene.answer()

    before, during, after, answer = in_scene(work, "tun")
    assert any("default via 10.0.2.254" in line for line in before) and not any(
        "default via" in line for line in during[1]
    )
    assert during[0] != "rs1" and after == before and answer == "rs1"


def _round_trip(scene: Scene) -> float:
    """The shortest of five round trips from the client to the director, seconds."""
    out = scene.lab.clients[0].run("ping -q -c 5 -i 0.2 10.0.0.1").check("c1", "ping")
    return float(out.partition("rtt min/avg/max/mdev = ")[2].partition("/")[0]) / 1000


def test_a_delay_is_seen_in_the_round_trip() -> None:
    delay = 0.2

    def work(scene: Scene) -> Any:
        before, state = _round_trip(scene), scene.state("lvs")
        with faults.impaired(scene.lab, "lvs", "s1", delay=delay) as fault:
            during, unhurt = _round_trip(scene), scene.lab.director.run("tc qdisc show dev lvs-eth1").out
        return before, during, _round_trip(scene), unhurt, fault.proof, scene.state("lvs") == state

    before, during, after, unhurt, proof, same = in_scene(work, more_needs=[Need.NETEM])
    assert before < delay <= during and after < delay
    assert "netem" in proof and "delay 200ms" in proof and "netem" not in unhurt and same


def test_losses_are_counted_by_the_queue_and_by_the_client() -> None:
    count = 60

    def work(scene: Scene) -> Any:
        def received() -> int:
            out = scene.lab.clients[0].run(f"ping -q -c {count} -i 0.01 -W 1 10.0.0.1").out
            return int(out.partition("transmitted, ")[2].split()[0])

        before = received()
        with faults.impaired(scene.lab, "lvs", loss=0.5):
            during, queue = received(), scene.lab.director.run("tc -s qdisc show dev lvs-eth0").out
        return before, during, received(), queue, scene.told("repair")[-1]

    before, during, after, queue, repair = in_scene(work, more_needs=[Need.NETEM])
    assert before == after == count and 0 < during < count
    dropped = int(queue.partition("(dropped ")[2].partition(",")[0])
    assert dropped >= count - during > 0 and f"dropped {dropped}" in repair


def test_impairment_is_refused_where_it_cannot_be() -> None:
    def work(scene: Scene) -> list[str]:
        said = []
        for values in (
            {"delay": 0.1},
            {},
            {"loss": 1.5},
            {"reorder": 0.5},
            {"rate": -1.0},
            {"delay": 0.1, "network": "s9"},
        ):
            node = "rs1" if values == {"delay": 0.1} else "lvs"
            with pytest.raises(UsageError) as caught:
                with faults.impaired(scene.lab, node, **values):
                    pass
            said.append(str(caught.value))
        return [*said, *scene.told("fault")]

    assert in_scene(work, more_needs=[Need.NETEM]) == [
        "impaired link: the kernel of 'rs1' was not asked for netem; these were: ['lvs']",
        "impaired link: nothing is impaired; give delay, loss, duplicate, reorder or rate",
        "impaired link: loss 1.5 is no share; give 0 to 1",
        "impaired link: reordered packets overtake delayed ones; give a delay too",
        "impaired link: delay, jitter and rate are not negative",
        "fault: 'lvs' has no link to 's9'; it has links to: s1, s2",
    ]


DATAGRAM = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
sock.settimeout(5)
sock.connect(("10.0.0.10", 5300))
try:
    sock.send(bytes(1000))
    print(sock.recv(100).split()[0].decode())
except OSError as error:
    print(error.errno, sock.getsockopt(socket.IPPROTO_IP, 14))  # IP_MTU
"""


def test_a_small_mtu_is_told_to_who_sends_more() -> None:
    def work(scene: Scene) -> Any:
        def datagram() -> str:
            scene.lab.clients[0].run("ip route flush cache")
            return (
                scene.lab.clients[0]
                .run(f"{sys.executable} -I -S -c '{DATAGRAM}'")
                .check("c1", "datagram")
                .strip()
            )

        before, state = datagram(), scene.state("lvs")
        with faults.small_mtu(scene.lab, "lvs", 600, "s2"):
            during = datagram()
        return before, during, datagram(), scene.state("lvs") == state

    assert in_scene(work) == ("rs1", "90 600", "rs1", True), "90 is EMSGSIZE"


def test_a_node_with_a_small_mtu_carries_no_big_packet() -> None:
    def work(scene: Scene) -> Any:
        def ping(size: int) -> tuple[bool, str]:
            done = scene.lab.clients[0].run(f"ping -c 1 -W 2 -M do -s {size} 10.0.0.1")
            return done.code == 0, done.out + done.err

        before = ping(1000)[0]
        with faults.small_mtu(scene.lab, "c1", 600):
            big, small = ping(1000), ping(500)[0]
        with pytest.raises(UsageError, match="mtu 67: IPv4 takes 68 to 65535 bytes"):
            with faults.small_mtu(scene.lab, "c1", 67):
                pass
        return before, big, small, ping(1000)[0]

    before, (big, said), small, after = in_scene(work)
    assert before and after and small and not big and "mtu=600" in said


def test_a_partition_has_two_sides_that_are_whole_in_themselves() -> None:
    def work(scene: Scene) -> Any:
        def seen() -> dict[str, bool]:
            return {
                "inside": scene.reaches("rs1", "10.0.1.1"),
                "outside": scene.reaches("rs2", "10.0.1.13"),
                "across": (
                    scene.reaches("c1", "10.0.0.1")
                    or scene.reaches("rs2", "10.0.1.11")
                    or scene.reaches("rs2", "10.0.1.1")
                ),
                "carrier": (
                    scene.lab.node("rs1").run("cat /sys/class/net/rs1-eth0/carrier").out.strip() == "1"
                ),
            }

        before = seen(), scene.answer()
        with faults.partition(scene.lab, ["lvs", "rs1"]):
            during = seen(), scene.answer(timeout=1)
        return before, during, (seen(), scene.answer())

    before, during, after = in_scene(work, servers=3, weights=(1, 0, 0))
    assert before == after == ({"inside": True, "outside": True, "across": True, "carrier": True}, "rs1")
    assert (
        during[0] == {"inside": True, "outside": True, "across": False, "carrier": True}
        and during[1] != "rs1"
    )


def test_a_partition_of_one_network_spares_the_others() -> None:
    def work(scene: Scene) -> Any:
        with faults.partition(scene.lab, ["lvs"], "s2"):
            during = (
                scene.reaches("c1", "10.0.0.1"),
                scene.reaches("rs1", "10.0.1.1"),
                scene.reaches("rs1", "10.0.1.12"),
            )
        said = []
        for nodes, network in (([], None), (["c1", "lvs", "rs1", "rs2"], None), (["c1"], "s2")):
            with pytest.raises(UsageError) as caught:
                with faults.partition(scene.lab, nodes, network):
                    pass
            said.append(str(caught.value))
        return during, scene.reaches("rs1", "10.0.1.1"), said

    during, after, said = in_scene(work)
    assert during == (True, False, True) and after
    assert said == [
        "partition: 0 of 4 nodes on one side; each side needs one",
        "partition: 4 of 4 nodes on one side; each side needs one",
        "partition: none of c1 is in network 's2'; networks: s1, s2",
    ]


# -- directors -------------------------------------------------------------------------------------


def test_a_hung_director_is_silent_and_answers_at_once_afterwards() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer(), scene.reaches("c1", "10.0.0.1"), scene.state("lvs"), scene.table()
        with faults.director_hung(scene.lab, "lvs"):
            during = scene.answer(timeout=1), scene.reaches("c1", "10.0.0.1")
        for _ in range(10):  # its agent must not miss a bell that rang while it stood still
            scene.lab.director.run("true", timeout=SECONDS).check("lvs", "true")
            with faults.director_hung(scene.lab, "lvs"):
                pass
        return (
            before,
            during,
            (scene.answer(), scene.reaches("c1", "10.0.0.1"), scene.state("lvs"), scene.table()),
        )

    before, during, after = in_scene(work)
    assert before[:2] == ("rs1", True) and during == ("silence", False) and after == before


@pytest.mark.parametrize(
    "fault", [faults.director_power_cut, faults.director_panic], ids=["power cut", "panic"]
)
def test_a_director_that_loses_its_kernel_comes_back_without_memory(fault: Callable[..., Any]) -> None:
    connections, boot = "tail -n +2 /proc/net/ip_vs_conn", "cat /proc/sys/kernel/random/boot_id"

    def work(scene: Scene) -> Any:
        def run(script: str) -> str:
            return scene.lab.director.run(script).check("lvs", script)

        before = scene.answer(), scene.state("lvs"), scene.table()
        known, kernel = run(connections), run(boot)
        with fault(scene.lab, "lvs") as happened:
            during = scene.answer(timeout=1), scene.arp("c1", "10.0.0.1"), scene.lab.is_on("lvs")
        forgotten, same_kernel = run(connections), run(boot) == kernel
        after = scene.answer(), scene.state("lvs"), scene.table()
        scene.lab.check()
        return before, known, during, happened.proof, forgotten, same_kernel, after

    before, known, during, proof, forgotten, same_kernel, after = in_scene(work)
    assert before[0] == "rs1" and "0A000065" in known.upper(), "the client's connection is in the table"
    assert during == ("silence", False, False)
    assert forgotten == "" and not same_kernel and after == before
    assert ("panic" in proof) == (fault is faults.director_panic)


# -- the table -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "during"),
    [(faults.weight_zero, {"rs2"}), (faults.server_removed, {"rs2"})],
    ids=["weight zero", "removed"],
)
def test_a_server_that_is_taken_out_gets_no_new_connection(
    fault: Callable[..., Any], during: set[str]
) -> None:
    def work(scene: Scene) -> Any:
        def servers() -> set[str]:
            return {str(each.server) for each in scene.answers(6)}

        before = servers(), scene.table()
        with fault(scene.lab, "rs1"):
            left, table = servers(), scene.table()
        return before, left, table, (servers(), scene.table())

    before, left, table, after = in_scene(work, weights=())
    assert before[0] == {"rs1", "rs2"} and left == during
    assert table != before[1] and after == before


def test_a_flushed_table_refuses_everybody() -> None:
    def work(scene: Scene) -> Any:
        before = scene.answer(), scene.table()
        with faults.table_flushed(scene.lab):
            during = scene.answer(), scene.table()
        return before, during, (scene.answer(), scene.table())

    before, during, after = in_scene(work)
    assert before[0] == "rs1" and during == ("ConnectionRefusedError", []) and after == before


# -- what cannot be --------------------------------------------------------------------------------

SERVERS, DIRECTORS, ALL = "rs1, rs2", "lvs", "c1, lvs, rs1, rs2"


def test_a_node_that_does_not_exist_is_refused_with_those_that_do() -> None:
    asked: list[tuple[Callable[..., Any], tuple[Any, ...], str, str]] = [
        (faults.server_killed, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_power_off, ("lvs",), "real server 'lvs'", SERVERS),
        (faults.server_hung, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_slow, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_flapping, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.weight_zero, ("rs9",), "real server 'rs9'", SERVERS),
        (faults.server_removed, ("c1",), "real server 'c1'", SERVERS),
        (faults.director_power_cut, ("rs1",), "director 'rs1'", DIRECTORS),
        (faults.director_panic, ("lvs2",), "director 'lvs2'", DIRECTORS),
        (faults.director_hung, ("lvs2",), "director 'lvs2'", DIRECTORS),
        (faults.handed_over, ("lvs2",), "director 'lvs2'", DIRECTORS),
        (faults.table_flushed, ("rs1",), "director 'rs1'", DIRECTORS),
        (faults.link_down, ("c9",), "node 'c9'", ALL),
        (faults.impaired, ("c9",), "node 'c9'", ALL),
        (faults.small_mtu, ("c9", 600), "node 'c9'", ALL),
        (faults.partition, (["rs1", "c9"],), "node 'c9'", ALL),
    ]

    def work(scene: Scene) -> Any:
        said = []
        for fault, arguments, _, _ in asked:
            with pytest.raises(UsageError) as caught:
                with fault(scene.lab, *arguments):
                    pass
            said.append(str(caught.value))
        return said, scene.told("fault"), scene.answer()

    said, broken, answer = in_scene(work)
    assert said == [
        f"fault: there is no {who} in lab 'nat'; choose from: {names}" for _, _, who, names in asked
    ]
    assert broken == [] and answer == "rs1"


def test_a_fault_that_does_not_show_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_PROOF_SECONDS", 0.2)
    monkeypatch.setattr(UmlGuest, "freeze", lambda guest: None)

    def work(scene: Scene) -> None:
        with faults.director_hung(scene.lab, "lvs"):
            raise AssertionError("the block of a fault that is not there must not run")

    with pytest.raises(LabError, match=r"fault 'lvs: hung' does not show within 0\.2 s"):
        in_scene(work)


def test_a_fault_is_put_back_after_an_error_too() -> None:
    def work(scene: Scene) -> Any:
        before = scene.table()
        with suppress(ZeroDivisionError), faults.table_flushed(scene.lab):
            empty = scene.table()
            raise ZeroDivisionError
        return before, empty, scene.table(), scene.told("repair")

    before, empty, after, repaired = in_scene(work)
    assert before and empty == [] and after == before and repaired == ["lvs: table restored"]


# -- what happens unasked --------------------------------------------------------------------------


def test_a_daemon_that_dies_unasked_ends_the_trial(tmp_path: Path) -> None:
    def inside() -> None:
        kernels = probe.kernels_here([Need.IP_VS], "uml")
        with RunWriter(tmp_path, "run", kind="run", command=["pytest"]) as run:
            log = Experiment(run, kernels, nobody, ["uml"])
            with log.lab("nat", control="keepalived") as lab:
                with log.trial(lab, variant="killed", expects="nothing", rate=50.0) as trial:
                    trial.steady(0.5)
                    kill = f"kill -9 $(cat {lab.director.inside}/keepalived/keepalived.pid)"
                    lab.director.run(kill).check("lvs", kill)
                    trial.steady(SECONDS)

    with pytest.raises(LabError, match=r"^lvs: keepalived was ended by SIGKILL; it said last: .+ \| .+"):
        in_sandbox(inside)


@pytest.mark.parametrize(
    ("options", "program"),
    [
        ({"control": "keepalived"}, "keepalived"),
        ({"control": "mon"}, "mon"),
        ({"directors": 2}, "keepalived"),
    ],
    ids=["keepalived", "mon", "pair"],
)
def test_a_missing_program_is_named_with_its_package_before_anything_starts(
    options: dict[str, Any], program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "program_path", lambda: str(tmp_path))
    with RunWriter(tmp_path, "run", kind="run", command=["pytest"]) as run:
        log = Experiment(run, any_kernel(), nobody)
        with pytest.raises(CannotError) as caught:
            with log.lab("nat", **options):
                raise AssertionError("a lab that cannot work must not start")
    assert (
        str(caught.value)
        == f"lab 'nat': {program} not found; run: apt-get install --no-install-recommends {program}"
    )
    assert caught.value.exit_code == ExitCode.CANNOT
