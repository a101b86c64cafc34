"""From frames at link ends to hops: who handed which packet to whom. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lvslab.verify.frames import Frame, IpPacket


@dataclass(frozen=True)
class Port:
    """A node's interface: its node, its network (the switch) and its MAC address."""

    node: str
    network: str
    mac: str


@dataclass(frozen=True)
class Hop:
    """A packet on its way from one node to the next.

    Attributes:
        t: nanoseconds since the epoch, when it was sent.
        sender, receiver: node names; `receiver` is None when no node took it.
        link: interface of the sender.
        frames: numbers of the frame in the capture, at the sender's end and at the receiver's.
    """

    t: int
    sender: str
    receiver: str | None
    link: str
    frames: tuple[int, ...]
    eth_src: str
    eth_dst: str
    packet: IpPacket


def hops(frames: Iterable[Frame], ports: Mapping[str, Port]) -> list[Hop]:
    """Join each frame that a node sent to the same frame where another received it.

    Frames that a switch floods to nodes that they are not addressed to are passed over, as those
    nodes pass over them.

    Args:
        frames: in the order of time.
        ports: interface name → port.

    Returns:
        Hops of IPv4 packets, in the order of sending.
    """
    sent: dict[tuple[str, bytes], deque[int]] = defaultdict(deque)
    found: list[Hop] = []
    for frame in frames:
        port = ports[frame.interface]
        key = (port.network, frame.raw)
        if frame.ip is None:
            continue
        if frame.sent:
            sent[key].append(len(found))
            found.append(
                Hop(
                    frame.t,
                    port.node,
                    None,
                    frame.interface,
                    (frame.number,),
                    frame.eth_src,
                    frame.eth_dst,
                    frame.ip,
                )
            )
        elif frame.eth_dst == port.mac and sent[key]:
            index = sent[key].popleft()
            hop = found[index]
            found[index] = Hop(
                hop.t,
                hop.sender,
                port.node,
                hop.link,
                (*hop.frames, frame.number),
                hop.eth_src,
                hop.eth_dst,
                hop.packet,
            )
    return found
