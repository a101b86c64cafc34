"""Faults of links: down, slow, lossy, narrow, partitioned."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lvslab import faults
from lvslab.errors import UsageError
from lvslab.kernels.needs import Need
from tests.lab.scene import Scene, in_scene

pytestmark = pytest.mark.usefixtures("quickest_guests")


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
