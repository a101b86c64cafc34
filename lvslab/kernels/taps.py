"""The host's side of a QEMU guest's NICs: a tap for each, joined to a veth by a hub, a bridge of
two ports that learns nothing.

A bridge keeps frames to its ports' own addresses for itself, and the veth carries the address of
the guest's NIC. So that entry is taken out of the bridge's table, and the bridge gets an address of
its own, which it would otherwise take from a port.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lvslab.errors import CannotError, GuestError
from lvslab.host import linux

TUN = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000  # linux/if_tun.h
_HUB_MAC = "02:68:75:62:00:{:02x}"
"""Locally administered; nobody outside the guest's own namespace ever sees it."""


def open_tap(name: str) -> int:
    """A new tap in the calling thread's network namespace, as a descriptor that keeps it; frames
    carry a virtio_net_hdr.

    Raises:
        CannotError: this machine has no tap driver, or does not let this user have one.
    """
    try:
        descriptor = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        what = "the machine's kernel or container has no tap driver; run: modprobe tun"
        if error.errno in (errno.EACCES, errno.EPERM):
            what = "this user may not open it; run: chmod 666 /dev/net/tun"
        raise CannotError(
            f"{TUN}: {os.strerror(error.errno or 0)}: a kernel under QEMU needs it for its network; {what}"
        ) from error
    try:
        fcntl.ioctl(
            descriptor,
            _TUNSETIFF,
            struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR),
        )
    except OSError as error:
        os.close(descriptor)
        raise CannotError(
            f"{TUN}: no tap '{name}' can be made here ({os.strerror(error.errno or 0)})"
        ) from error
    return descriptor


def join(name: str, pairs: Sequence[tuple[str, str, str]]) -> None:
    """Join veths and taps of the calling thread's network namespace.

    Args:
        name: the node's, for messages.
        pairs: (veth, its MAC address, tap) each; a veth that was joined to an earlier guest's tap
            leaves that hub.

    Raises:
        GuestError: the machine's kernel refused.
    """
    for table in (
        "arp",
        "ip",
        "ip6",
    ):  # as for a lab's switches: no firewall of the machine looks into frames
        switch = Path(f"/proc/sys/net/bridge/bridge-nf-call-{table}tables")
        if switch.exists():
            switch.write_text("0")
    hubs = [f"hub-{socket.if_nametoindex(veth)}" for veth, _, _ in pairs]
    there = {each for each in hubs if linux.has_interface(each)}
    lines = []
    for number, (hub, (veth, _, tap)) in enumerate(zip(hubs, pairs, strict=True)):
        if hub not in there:
            mac = _HUB_MAC.format(number)
            lines.append(
                f"link add {hub} address {mac} type bridge mcast_snooping 0 ageing_time 0 forward_delay 0"
            )
            lines += [f"link set {veth} master {hub}", f"link set {hub} up"]
        lines.append(f"link set {tap} master {hub} up")
    _batch(name, "ip", lines)
    # "self" is the veth's own filter, "master" the bridge's table
    _batch(
        name,
        "bridge",
        [
            f"fdb del {mac} dev {veth} master"
            for (veth, mac, _), hub in zip(pairs, hubs, strict=True)
            if hub not in there
        ],
    )


def _batch(name: str, program: str, lines: Sequence[str]) -> None:
    if not lines:
        return
    done = subprocess.run(
        [program, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise GuestError(f"{name}: {program} could not join the guest's NICs: {done.stderr.strip()}")
