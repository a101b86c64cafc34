"""Flows read from frames, thousands at a time: who talks with whom, as rows of bytes.

A record has 40 bytes: IP version (0: not IP), protocol, source port, destination port, two bytes of
0, source address, destination address (16 bytes each, an IPv4 address in the first four). Ports are
those of TCP, UDP and SCTP in a packet that is whole or a first fragment, an ICMP or ICMPv6 echo has
its identifier as source port; without options of IPv6 before the transport header, and without VLAN
tags.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvslab.traffic.engine.results import Flows

RECORD = 40
_ETHERNET = 14
_IPV4, _IPV6 = 0x0800, 0x86DD
_TCP, _UDP, _SCTP, _ICMP, _ICMPV6 = 6, 17, 132, 1, 58
_ECHOES = {_ICMP: (0, 8), _ICMPV6: (128, 129)}
_MERGE_AT = 1 << 21
_MIXERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD],
    np.uint64,
)


def records_of(frames: NDArray[np.uint8], lengths: NDArray[Any]) -> NDArray[np.uint8]:
    """The record of each frame.

    Args:
        frames: one Ethernet frame in each row, or its beginning.
        lengths: bytes of each that are its own; what follows in its row is not looked at.
    """
    count, room = frames.shape
    records = np.zeros((count, RECORD), np.uint8)
    if room < _ETHERNET + 28:
        return records
    kind = frames[:, 12].astype(np.uint16) << 8 | frames[:, 13]
    for ethertype, version in ((_IPV4, 4), (_IPV6, 6)):
        least = _ETHERNET + (20 if version == 4 else 40)
        rows = np.flatnonzero(
            (kind == ethertype) & (frames[:, _ETHERNET] >> 4 == version) & (lengths >= least)
        )
        if len(rows) == count:
            return _records(frames, lengths, version)
        if len(rows):
            records[rows] = _records(frames[rows], lengths[rows], version)
    return records


def _records(frames: NDArray[np.uint8], lengths: NDArray[Any], version: int) -> NDArray[np.uint8]:
    count = len(frames)
    records = np.zeros((count, RECORD), np.uint8)
    records[:, 0] = version
    if version == 4:
        protocol = frames[:, _ETHERNET + 9]
        records[:, 8:12], records[:, 24:28] = (
            frames[:, _ETHERNET + 12 : _ETHERNET + 16],
            frames[:, _ETHERNET + 16 : _ETHERNET + 20],
        )
        start = _ETHERNET + 4 * (frames[:, _ETHERNET] & 0xF).astype(np.int64)
        whole = (frames[:, _ETHERNET + 6] & 0x1F | frames[:, _ETHERNET + 7]) == 0
    else:
        protocol = frames[:, _ETHERNET + 6]
        records[:, 8:40] = frames[:, _ETHERNET + 8 : _ETHERNET + 40]
        start = np.full(count, _ETHERNET + 40)
        whole = np.ones(count, bool)
    records[:, 1] = protocol
    rows = np.flatnonzero(whole & (start + 8 <= np.minimum(lengths, frames.shape[1])))
    head = frames[rows[:, None], start[rows, None] + np.arange(8)]
    protocol = protocol[rows]
    ports = (protocol == _TCP) | (protocol == _UDP) | (protocol == _SCTP)
    records[rows[ports], 2:6] = head[ports, :4]
    for number, types in _ECHOES.items():
        echo = (protocol == number) & np.isin(head[:, 0], types)
        records[rows[echo], 2:4] = head[echo, 4:6]
    return records


class FlowTable:
    """Flows counted."""

    def __init__(self) -> None:
        self._flows = Flows(np.zeros((0, RECORD), np.uint8), np.zeros(0, np.int64))
        self._waiting: list[NDArray[np.uint8]] = []
        self._waiting_rows = 0
        self.other = 0

    def add(self, records: NDArray[np.uint8]) -> None:
        """Count one packet for each record; those that are not IP only in `other`."""
        ip = records[:, 0] != 0
        if not ip.all():
            self.other += int(len(ip) - ip.sum())
            records = records[ip]
        self._waiting.append(records)
        self._waiting_rows += len(records)
        if self._waiting_rows >= _MERGE_AT:
            self.flows()

    def flows(self) -> Flows:
        """All of them so far."""
        if self._waiting:
            records = np.concatenate([self._flows.records, *self._waiting])
            weights = np.ones(len(records), np.int64)
            weights[: len(self._flows)] = self._flows.counts
            self._waiting, self._waiting_rows = [], 0
            self._flows = _merged(records, weights)
        return self._flows


def _merged(records: NDArray[np.uint8], weights: NDArray[np.int64]) -> Flows:
    """Equal records made one, with the sum of their weights."""
    words: NDArray[Any] = np.ascontiguousarray(records).view(np.uint64)
    mixed = (words * _MIXERS).sum(axis=1, dtype=np.uint64)
    order = np.argsort(
        mixed, kind="stable"
    )  # one key is sorted much faster than five; equal keys are looked at below
    differs = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    if (differs & (mixed[order[1:]] == mixed[order[:-1]])).any():
        order = np.lexsort(words.T)
        differs = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    begins = np.flatnonzero(np.concatenate([np.ones(min(1, len(words)), bool), differs]))
    counts = np.add.reduceat(weights[order], begins) if len(begins) else weights
    return Flows(records[order[begins]], counts)
