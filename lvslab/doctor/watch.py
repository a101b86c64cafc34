"""A short capture: what traffic there is while the doctor watches. Nothing is sent."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lvslab.doctor.evidence import Packet
from lvslab.errors import CannotError

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab
    from lvslab.verify.frames import Frame

_BODY = 400
"""Bytes of a packet's payload that are kept: enough for the head of an HTTP message."""


class LabWatch:
    """Watches the links of some of a lab's nodes while its block runs.

    Attributes:
        packets: what was seen, known after the block.
    """

    def __init__(self, lab: Lab, names: Collection[str]) -> None:
        from lvslab.verify.verification import taps

        self._owners = {
            each.name: node.name for node in lab.plan.nodes if node.name in names for each in node.interfaces
        }
        self._taps = {tap: link for tap, link in taps(lab).items() if link in self._owners}
        self._stack = ExitStack()
        self.packets: tuple[Packet, ...] = ()

    def __enter__(self) -> LabWatch:
        self._frames = self._stack.enter_context(_captured(self._taps))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self.packets = tuple(
            _packet(frame, self._owners[frame.interface], frame.sent) for frame in self._frames
        )


def watch_here(name: str, seconds: float) -> tuple[Packet, ...]:
    """Packets at all links of this machine, which goes by that name.

    Raises:
        CannotError: this user may not capture.
    """
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError as error:
        raise CannotError(
            f"{name}: a capture needs the capability CAP_NET_RAW; run this as root, or leave --capture out"
        ) from error
    links = {link: link for _, link in socket.if_nameindex() if link != "lo"}
    with _captured(links) as frames:
        time.sleep(seconds)
    # The capture takes an interface for the switch's end of a link, whose view of directions is the
    # opposite one.
    return tuple(_packet(frame, name, not frame.sent) for frame in frames)


@contextmanager
def _captured(taps: Mapping[str, str]) -> Iterator[list[Frame]]:
    """Capture during the block; the list is filled when it is left."""
    from lvslab.verify.capture import Capture
    from lvslab.verify.frames import prepare_to_read, read_frames

    prepare_to_read()  # or entries of the director's table would expire meanwhile, before they are seen
    frames: list[Frame] = []
    with tempfile.TemporaryDirectory(prefix="lvslab-doctor-") as directory:
        file = Path(directory) / "watch.pcapng"
        with Capture(file, taps):
            yield frames
        frames += read_frames(file)


def _packet(frame: Frame, machine: str, sent: bool) -> Packet:
    if frame.arp:
        arp = frame.arp
        return Packet(
            machine,
            frame.interface,
            sent,
            "ARP",
            arp.sender_ip,
            0,
            arp.target_ip,
            0,
            note=arp.operation,
            mac=arp.sender_mac,
        )
    ip = frame.ip
    if ip is None:
        return Packet(machine, frame.interface, sent, "", "", 0, "", 0, mac=frame.eth_src)
    return Packet(
        machine,
        frame.interface,
        sent,
        ip.protocol,
        ip.src,
        ip.sport,
        ip.dst,
        ip.dport,
        flags=ip.flags,
        note=ip.note,
        mac=frame.eth_src,
        body=ip.payload[:_BODY],
    )
