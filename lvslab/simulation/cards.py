"""The devices of a guest in virtual time: network cards, and a line for commands."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.simulation.vhost import F_PROTOCOL_FEATURES, F_VERSION_1, Device

_F_MAC = 1 << 5


def _nowhere(packet: bytes) -> None:
    """Where packets of a device go that nobody has joined to anything."""


class Card(Device):
    """A network card (Virtual I/O Device 1.2, 5.1), without offloads: frames are what they would be
    on a wire, checksums included.

    Attributes:
        mac: its address.
        transmit: takes each frame that the guest sends, at its moment.
    """

    kind = 1
    header = bytes(10) + b"\x01\x00"  # struct virtio_net_hdr_v1 with num_buffers = 1
    features = F_PROTOCOL_FEATURES | F_VERSION_1 | _F_MAC

    def __init__(self, mac: bytes) -> None:
        """See `Device`."""
        super().__init__(mac)
        self.mac = mac
        self.transmit: Callable[[bytes], None] = _nowhere

    def receive(self, frame: bytes) -> None:
        """Give the guest a frame; all of one moment come with one interrupt."""
        self.give(frame)

    def taken(self, packet: bytes) -> None:
        """See `Device.taken`."""
        self.transmit(packet)


class Line(Device):
    """A console (Virtual I/O Device 1.2, 5.3), in the guest /dev/hvc0. Its driver waits for each
    buffer that it sends (put_chars in drivers/char/virtio_console.c).

    Attributes:
        hear_text: takes what the guest writes.
    """

    kind = 3
    needs_kicks = True

    def __init__(self) -> None:
        """See `Device`."""
        super().__init__()
        self.hear_text: Callable[[bytes], None] = _nowhere

    def say(self, text: bytes) -> None:
        """Send the guest some text."""
        self.give(text)

    def taken(self, packet: bytes) -> None:
        """See `Device.taken`."""
        self.hear_text(packet)
