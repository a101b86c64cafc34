"""Packets compared: what a check expected beside what it saw, field by field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.packet import Packet

from lvslab.conformance.verdict import CheckFailed

_COMPUTED = {"chksum", "len", "ihl", "dataofs", "plen"}
"""Fields that scapy fills in when a packet is built."""


def rebuilt(packet: Packet) -> Packet:
    """A packet as it comes off the wire: built to bytes and dissected again, so that every computed
    field has its value.
    """
    return type(packet)(bytes(packet))


def changed(packet: Packet, change: Callable[[Packet], None]) -> Packet:
    """A copy of a packet with something changed and all lengths and checksums computed anew."""
    copy = packet.copy()
    change(copy)
    layer = copy
    while layer and layer.name != "NoPayload":
        for name in _COMPUTED & {field.name for field in layer.fields_desc}:
            if name in layer.fields:
                del layer.fields[name]
        layer = layer.payload
    copy.clear_cache()
    return rebuilt(copy)


def differences(expected: Packet, seen: Packet) -> list[str]:
    """Where two packets differ: one line a field, "IP.ttl: expected 63, seen 64"."""
    found: list[str] = []
    left, right = rebuilt(expected), rebuilt(seen)
    while True:
        if left.name != right.name:
            return [*found, f"expected {_name(left)} here, seen {_name(right)}"]
        if left.name == "NoPayload":
            return found
        for field in left.fields_desc:
            here, there = left.getfieldval(field.name), right.getfieldval(field.name)
            if here != there:
                found.append(f"{left.name}.{field.name}: {_unlike(here, there)}")
        left, right = left.payload, right.payload


_SHOWN = 16
"""Bytes of a long field that are shown from where two differ."""


def _unlike(here: Any, there: Any) -> str:
    """Two values of a field; of long data only the part where they begin to differ."""
    if not (isinstance(here, bytes) and isinstance(there, bytes) and max(len(here), len(there)) > 2 * _SHOWN):
        return f"expected {here!r}, seen {there!r}"
    at = next(
        (at for at, (one, other) in enumerate(zip(here, there, strict=False)) if one != other),
        min(len(here), len(there)),
    )
    lengths = "" if len(here) == len(there) else f"{len(here)} bytes expected, {len(there)} seen; "
    return (
        f"{lengths}from byte {at} on expected {here[at : at + _SHOWN]!r}…, seen {there[at : at + _SHOWN]!r}…"
    )


def _name(layer: Packet) -> str:
    return "the end" if layer.name == "NoPayload" else str(layer.name)


def must_equal(seen: Packet, expected: Packet, what: str) -> None:
    """A packet must be, byte for byte, the one that was expected.

    Raises:
        CheckFailed: it is not; the detail has both and where they differ.
    """
    if bytes(seen) == bytes(expected):
        return
    wrong = differences(expected, seen) or ["the bytes differ after the last layer"]
    raise CheckFailed(
        f"{what}: {wrong[0]}", [*wrong, f"expected: {expected.summary()}", f"seen:     {seen.summary()}"]
    )


def must(holds: bool, reason: str, *detail: str) -> None:
    """An expectation in words.

    Raises:
        CheckFailed: it does not hold.
    """
    if not holds:
        raise CheckFailed(reason, detail)
