"""The traffic engine on a veth pair between two nodes on the machine's own kernel: nothing is lost,
rates hold, and what is lost is said.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lvslab.errors import LabError
from lvslab.host import linux, sandbox
from lvslab.lab.nodes import LabHost
from lvslab.traffic.engine import Draw, Engine, Received, Sent, Span, Stream, Values
from lvslab.traffic.engine.compile import compile_stream
from lvslab.traffic.engine.flows import FlowTable, records_of
from lvslab.traffic.engine.host import IPV4, IPV6
from tests.lab.conftest import in_sandbox

NOBODY = "02:00:00:00:00:09"
SYN = (
    Ether(src="02:00:00:00:00:01", dst=NOBODY)
    / IP(src="0.0.0.0", dst="10.0.0.9")
    / TCP(dport=80, flags="S", options=[("MSS", 1460)])
)
VARY = {"IP.src": Span("198.18.0.0/15"), "TCP.sport": Draw(1024, 65535), "TCP.seq": Draw()}
FLOWS = 100_000


def on_a_pair(work: Callable[[Engine, Engine, LabHost], Any]) -> Any:
    """Call with the engines at both ends of a link, and the node of the first."""

    def inside() -> Any:
        linux.fresh_network()
        here, there = (LabHost(name, directory=sandbox.PRIVATE_DIRECTORY) for name in ("here", "there"))
        ends = [["name", name, "netns", str(node.pid)] for name, node in (("h0", here), ("t0", there))]
        subprocess.run(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]], check=True)
        for node, name in ((here, "h0"), (there, "t0")):
            node.run(f"echo 1 >/proc/sys/net/ipv6/conf/{name}/disable_ipv6; ip link set {name} up").check(
                node.name, "set-up"
            )
        try:
            return work(Engine(here, "h0"), Engine(there, "t0"), here)
        finally:
            here.terminate()
            there.terminate()

    return in_sandbox(inside)


def transfer(stream: Stream, check: Callable[[Sent, Received], None], **options: Any) -> None:
    """Send and receive, and look at the results inside, where there is no limit to their size."""

    def work(here: Engine, there: Engine, _node: LabHost) -> None:
        with there.receiver(**options) as receiver:
            sent = here.send(stream)
        check(sent, receiver.result)

    on_a_pair(work)


@pytest.mark.parametrize("version", [4, 6])
def test_every_one_of_100_000_flows_arrives_once(version: int) -> None:
    six = Ether(src=SYN.src, dst=NOBODY) / IPv6(src="::", dst="fd00::9") / UDP(dport=4789) / b"lvslab"
    stream = (
        Stream(SYN, VARY, flows=FLOWS)
        if version == 4
        else Stream(six, {"IPv6.src": Span("fd00:1::/64")}, flows=FLOWS)
    )

    def check(sent: Sent, received: Received) -> None:
        assert (sent.sent, sent.planned) == (FLOWS, FLOWS)
        assert (received.packets, received.dropped, received.other) == (FLOWS, 0, 0)
        frames = compile_stream(stream)
        assert received.total_bytes == FLOWS * frames.lengths[0]
        table = FlowTable()
        rows = frames.buffer[:, 0]
        table.add(records_of(rows, (rows[:, 0] * 0 + frames.lengths[0]).astype(int)))
        expected = table.flows()
        assert received.flows is not None and len(received.flows) == len(expected) == FLOWS
        assert (received.flows.counts == 1).all()
        # equal flows come in the same order
        assert (received.flows.records == expected.records).all()

    transfer(stream, check, flows=True, ethertype=IPV4 if version == 4 else IPV6)


_LATE = 0.02
"""Seconds by which a sender of the machine's own may be late and still hold its rate."""


@pytest.mark.parametrize(("rate", "workers"), [(2_000.0, None), (20_000.0, None), (40_000.0, 2)])
def test_a_stated_rate_is_held_or_the_sender_says_that_it_was_late(rate: float, workers: int | None) -> None:
    """How well, make perf measures alone; beside other tests a sender may stand still."""
    stream = Stream(SYN, VARY, flows=FLOWS, rate=rate, seconds=3.0, workers=workers)

    def check(sent: Sent, received: Received) -> None:
        assert sent.planned == rate * 3 and received.arrived == sent.sent, sent
        assert sent.rate_error is not None
        if sent.worst_late < _LATE:
            assert sent.sent == sent.planned and abs(sent.rate_error) < 0.01 + _LATE / 3, sent
            assert received.rate / rate == pytest.approx(1, abs=0.01 + _LATE / 3), sent
        else:
            assert sent.late > 0 and 0 < sent.sent <= sent.planned, sent

    transfer(stream, check, ethertype=IPV4)


def test_loss_is_said_when_the_ring_is_too_small() -> None:

    def check(sent: Sent, received: Received) -> None:
        assert received.dropped > 0
        assert received.packets + received.dropped == sent.sent
        assert received.flows is not None and received.flows.counts.sum() == received.packets

    transfer(Stream(SYN, VARY, flows=20_000), check, slots=16, ethertype=IPV4, flows=True)


def test_conversations_arrive_in_order_and_byte_for_byte() -> None:
    addresses = {"src": "10.0.0.1", "dst": "10.0.0.9"}
    frame = Ether(src=SYN.src, dst=NOBODY) / IP(**addresses)
    talk = [
        frame / TCP(sport=1000, dport=80, seq=100, flags="S", options=[("MSS", 1460)]),
        frame / TCP(sport=1000, dport=80, seq=101, ack=701, flags="A"),
        frame / TCP(sport=1000, dport=80, seq=101, ack=701, flags="PA") / bytes(1400),
    ]
    stream = Stream(
        talk, {"TCP.sport": Span(1, 60_000), "TCP.seq": Draw(), "IP.id": Values([7])}, flows=500, count=1800
    )

    def check(sent: Sent, received: Received) -> None:
        frames = compile_stream(stream)
        assert sent.sent == received.packets == len(received.samples) == 1800
        assert [data for _, data in received.samples] == [
            frames[number % len(frames)] for number in range(1800)
        ]
        times = [stamp for stamp, _ in received.samples]
        assert times == sorted(times) and abs(times[-1] - time.time()) < 60

    transfer(stream, check, sample=1, room=1500, ethertype=IPV4)


def test_sending_ends_with_its_block_and_with_its_time() -> None:
    def work(here: Engine, _there: Engine, node: LabHost) -> tuple[Sent, Sent, float, str]:
        with here.start(Stream(SYN, VARY, flows=100, rate=1000, seconds=100)) as sending:
            time.sleep(0.5)
            sending.check()
        began = time.monotonic()
        timed = here.send(Stream(SYN, VARY, flows=100, seconds=0.3))
        took = time.monotonic() - began
        return sending.stop(), timed, took, node.run("ps -eo args | grep [s]end_program").out

    stopped, timed, took, left = on_a_pair(work)
    assert 0 < stopped.sent < 5000 and stopped.planned == 100_000
    assert timed.planned is None and timed.sent > 100 and timed.seconds < 1 and took < 10
    assert left == ""


def test_what_the_kernel_refuses_is_an_error_with_its_reason() -> None:
    def work(here: Engine, _there: Engine, node: LabHost) -> list[str]:
        said = []
        for engine, stream in ((Engine(node, "nothing"), Stream(SYN)), (here, Stream(SYN / bytes(9000)))):
            with pytest.raises(LabError) as caught:
                engine.send(stream)
            said.append(str(caught.value))
        with pytest.raises(LabError) as caught, Engine(node, "nothing").receiver():
            pass
        said.append(str(caught.value))
        with pytest.raises(LabError) as caught:
            with here.start(Stream(SYN, rate=1000, seconds=20)) as sending:
                node.run("ip link set h0 down").check(node.name, "ip link set h0 down")
                sending.wait()
        said.append(str(caught.value))
        return said

    missing, long, deaf, down = on_a_pair(work)
    assert "nothing of here" in missing and "No such device" in missing
    assert "Message too long" in long
    assert "No such device" in deaf
    assert down.endswith("h0: sendmmsg: Network is down"), down
