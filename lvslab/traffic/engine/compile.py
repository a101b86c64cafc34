"""A stream compiled: all packets of all flows in one buffer, every varying byte filled in, every
checksum right.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvslab.errors import UsageError
from lvslab.traffic.engine.fields import Checksum, Frame
from lvslab.traffic.engine.stream import MAX_BYTES, Draw, Span, Stream, Values, Variation, number_of

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

_ALIGN = 16
_WORD = (1 << 64) - 1


@dataclass(frozen=True)
class Frames:
    """Frames to send, in order: flow by flow, and in each flow as the conversation goes.

    Attributes:
        buffer: flow × frame of the conversation × bytes; each frame begins a slot, whose rest is 0.
        lengths: of the conversation's frames, in bytes; the same in every flow.
    """

    buffer: Bytes
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return int(self.buffer.shape[0] * self.buffer.shape[1])

    def __getitem__(self, index: int) -> bytes:
        """One frame, in the order in which they are sent."""
        flow, number = divmod(index, len(self.lengths))
        return bytes(self.buffer[flow, number, : self.lengths[number]])

    @property
    def stride(self) -> int:
        """Bytes from a frame to the next."""
        return int(self.buffer.shape[2])


def compile_stream(stream: Stream) -> Frames:
    """Make all packets of a stream.

    Raises:
        UsageError: a field does not exist or cannot hold its values, or the packets need too much
            memory.
    """
    frames = [Frame(packet) for packet in stream.templates]
    lengths = tuple(len(frame.data) for frame in frames)
    stride = -(-max(lengths) // _ALIGN) * _ALIGN
    if stream.flows * len(frames) * stride > MAX_BYTES:
        raise UsageError(
            f"stream: {stream.flows * len(frames):,} packets of {stride} bytes do not fit into"
            f" {MAX_BYTES >> 20} MB"
        )
    buffer = np.zeros((stream.flows, len(frames), stride), np.uint8)
    for number, frame in enumerate(frames):
        buffer[:, number, : len(frame.data)] = np.frombuffer(frame.data, np.uint8)
    varied: list[set[int]] = [set() for _ in frames]
    for name, variation in stream.vary.items():
        _fill(buffer, frames, varied, name, variation)
    for number, frame in enumerate(frames):
        frame.refuse_sctp(sorted(varied[number]))
        for checksum in frame.checksums:
            _carry(buffer[:, number], frame.data, checksum, varied[number])
    return Frames(buffer, lengths)


def _fill(
    buffer: Bytes, frames: list[Frame], varied: list[set[int]], name: str, variation: Variation
) -> None:
    """Write a field of all flows into every frame of the conversation that has it."""
    places = [frame.find(name, frames[0]) for frame in frames]
    base: int | None = None
    high = low = np.zeros(0, np.uint64)
    for number, (frame, place) in enumerate(zip(frames, places, strict=True)):
        if place is None:
            continue
        if base is None:
            base = frame.number(place)
            high, low = numbers(variation, len(buffer), place.width, name)
        distance = (frame.number(place) - base) % (1 << 8 * place.width)
        buffer[:, number, place.offset : place.positions.stop] = _as_bytes(
            *_add(high, low, distance), place.width
        )
        varied[number].update(place.positions)
    if base is None:
        raise UsageError(f"stream: no frame of the template has a field '{name}'")


def numbers(variation: Variation, count: int, width: int, name: str) -> tuple[Words, Words]:
    """The values of a field of `width` bytes for flow 0, 1, …: their upper and lower 64 bits.

    Raises:
        UsageError: the field cannot hold them.
    """
    index = np.arange(count, dtype=np.uint64)
    if isinstance(variation, Values):
        table = [number_of(value) for value in variation.values]
        bounds = min(table), max(table)
    else:
        bounds = variation.bounds if isinstance(variation, Span) else variation.bounds(width)
    if not 0 <= bounds[0] <= bounds[1] < 1 << 8 * width:
        raise UsageError(
            f"stream: '{name}' has {width} bytes, which do not hold the values from {bounds[0]} to"
            f" {bounds[1]}"
        )
    if isinstance(variation, Values):
        which = (index // np.uint64(variation.every)) % np.uint64(len(table))
        return (
            np.array([value >> 64 for value in table], np.uint64)[which],
            np.array([value & _WORD for value in table], np.uint64)[which],
        )
    size = min(bounds[1] - bounds[0] + 1, 1 << 63)  # of a larger range the first part is used
    if isinstance(variation, Draw):
        random = np.random.default_rng([variation.seed, zlib.crc32(name.encode())])
        offset = random.integers(0, size, count, np.uint64)
    else:
        offset = ((index // np.uint64(variation.every)) * np.uint64(variation.step % size)) % np.uint64(size)
    return _add(np.zeros(count, np.uint64), offset, bounds[0])


def _add(high: Words, low: Words, number: int) -> tuple[Words, Words]:
    """Numbers of 128 bits plus a number, modulo 2**128."""
    total = low + np.uint64(number & _WORD)
    return high + np.uint64((number >> 64) & _WORD) + (total < low), total


def _as_bytes(high: Words, low: Words, width: int) -> Bytes:
    """The lowest `width` bytes of numbers, in network byte order."""
    both = np.empty((len(low), 2), ">u8")
    both[:, 0], both[:, 1] = high, low
    return both.view(np.uint8)[:, 16 - width :]


def _carry(frames: Bytes, template: bytes, checksum: Checksum, varied: set[int]) -> None:
    """Bring a checksum of all flows up to date (RFC 1624): what has changed is taken out of the
    template's and put in again.

    So a checksum also stays right that covers more than the frame has: of a first fragment, or of a
    packet that an ICMP error quotes.
    """
    own = (checksum.offset, checksum.offset + 1)
    covered = [
        (position, 0 if (position - part.start) % 2 else 8)
        for part in checksum.covers
        for position in part
        if position in varied and position not in own
    ]
    if not covered:
        return
    stored = int.from_bytes(template[own[0] : own[0] + 2], "big")
    constant = (0xFFFF - stored - sum(template[position] << shift for position, shift in covered)) % 0xFFFF
    total: Any = np.full(len(frames), constant, np.uint32)
    for position, shift in covered:
        total += frames[:, position].astype(np.uint32) << np.uint32(shift)
    while (total >> 16).any():
        total = (total & 0xFFFF) + (total >> 16)
    total[total == 0] = 0xFFFF  # the sum of anything but zeros is never 0
    value = 0xFFFF - total
    if checksum.never_zero:
        value[value == 0] = 0xFFFF
    frames[:, own[0]], frames[:, own[1]] = value >> 8, value & 0xFF
    varied.update(own)
