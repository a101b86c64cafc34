"""The traffic engine: flows written as scapy packets, replayed by the hundred thousand, counted
without loss or with the loss said.

    template   one scapy frame, or the frames of one conversation in order
    vary       what is different in every flow: addresses, ports, sequence numbers, identifications, bytes of the payload
    Stream     both, with how many flows, how many packets, how fast and how long
    Engine     sends a stream out of an interface of a node, and opens receivers there

A SYN flood of 100,000 flows at 50,000 a second, counted at the other end of the link:

    frame = Ether(src=mine, dst=gateway) / IP(src="198.18.0.0", dst="10.0.0.10") / TCP(dport=80, flags="S")
    stream = Stream(frame, {"IP.src": Span("198.18.0.0/15"), "TCP.sport": Draw(1024, 65535), "TCP.seq": Draw()}, flows=100_000, rate=50_000)
    with Engine(server, "rs1-eth0").receiver(flows=True) as receiver:
        sent = Engine(client, "c1-eth0").send(stream)
    print(sent.rate, receiver.result.packets, receiver.result.dropped, len(receiver.result.flows))

The template is compiled once: every varying byte is filled in and every checksum carried along for
all flows at once (`compile`), into one buffer that a program of its own sends with sendmmsg(2)
(`send_program`). A receiver is a program too, with a ring shared with the kernel
(`receive_program`). Both run in the node's network namespace, so a node must be on the machine's
own kernel.
"""  # noqa: E501, W505

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lvslab.traffic.engine.results import Flow, Flows, Received, Sent
from lvslab.traffic.engine.stream import Draw, Span, Stream, Values

if TYPE_CHECKING:
    from lvslab.traffic.engine.host import Engine, Receiver, Sending

__all__ = [
    "Draw",
    "Engine",
    "Flow",
    "Flows",
    "Received",
    "Receiver",
    "Sending",
    "Sent",
    "Span",
    "Stream",
    "Values",
]


def __getattr__(name: str) -> Any:
    """The part that knows nodes is loaded when first used: the programs, which are in this package
    too, start sooner without it.
    """
    if name in __all__:
        return getattr(importlib.import_module("lvslab.traffic.engine.host"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
