"""What a measured kernel said: the lines of its second serial line, put together.

boot RELEASE UPTIME · clock SOURCE · begin N · pktgen N PASS sofar … errors: E · pktgen N PASS
result OK: USEC(…) usec, COUNT … dropped N PHASE JSON · arrived N PHASE JSON · ipvs N PHASE numbers
(guest/look.sh) · failed N CODE COMMAND · said N TEXT · done N · end
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_RESULT = re.compile(r"OK: (\d+)\(.*usec, (\d+) ")
_SOFAR = re.compile(r"\s*(\d+)\s+errors: (\d+)")


@dataclass(frozen=True)
class Sent:
    """One pass as pktgen reports it: packets, of them not sent, and microseconds of
    virtual time.
    """

    packets: int
    errors: int
    microseconds: int


@dataclass(frozen=True)
class Ipvs:
    """IPVS's counters since the beginning of a measurement, and its connections over all real
    servers.

    Attributes:
        connections, packets: as counted in /proc/net/ip_vs_stats.
        active, inactive: sums over the real servers.
        fewest, most: connections of one real server.
        syn_recv, established: TCP connections in that state.
    """

    connections: int
    packets: int
    servers: int
    active: int
    inactive: int
    fewest: int
    most: int
    syn_recv: int
    established: int


@dataclass
class Record:
    """Everything that was said about one measurement; `done` when it went through to its end."""

    sent: dict[str, Sent] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    arrived: dict[str, int] = field(default_factory=dict)
    ipvs: dict[str, Ipvs] = field(default_factory=dict)
    failure: str = ""
    said: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def problem(self) -> str:
        """The command that failed with what it said; "" when none did."""
        return f"{self.failure}: {' '.join(self.said) or 'no output'}" if self.failure else ""


@dataclass
class Transcript:
    """A whole boot. `problem` is what failed before the first measurement."""

    release: str = ""
    clock: str = ""
    measurements: dict[int, Record] = field(default_factory=dict)
    start: Record = field(default_factory=Record)
    ended: bool = False

    @property
    def problem(self) -> str:
        return self.start.problem


def read(lines: Iterable[str]) -> Transcript:
    """Put the lines together; those that make no sense are part of no record, and what is missing
    shows in the judgement.
    """
    found = Transcript()
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        first, _, more = rest.partition(" ")
        if word == "boot":
            found.release = first
        elif word == "clock":
            found.clock = first
        elif word == "end":
            found.ended = True
        elif word == "begin" and first.isdigit():
            found.measurements[int(first)] = Record()
        elif word in _READERS:
            record = found.measurements.get(int(first)) if first.isdigit() else found.start
            if record is not None:
                _READERS[word](record, more)
    return found


def _pktgen(record: Record, text: str) -> None:
    name, _, rest = text.partition(" ")
    kind, _, rest = rest.partition(" ")
    known = record.sent.get(name, Sent(0, 0, 0))
    if kind == "sofar" and (counted := _SOFAR.match(rest)):
        record.sent[name] = Sent(int(counted[1]), int(counted[2]), known.microseconds)
    elif kind == "result" and (timed := _RESULT.search(rest)):
        record.sent[name] = Sent(known.packets, known.errors, int(timed[1]))


def _filter_count(text: str) -> tuple[str, int]:
    """Phase, and the packets that the filter's last action counted (`tc -s -j filter show`)."""
    phase, _, table = text.partition(" ")
    try:
        rows = json.loads(table)
    except ValueError:
        return phase, -1
    counts = [
        int(action["stats"]["packets"])
        for row in rows
        for action in row.get("options", {}).get("actions", ())[-1:]
        if "stats" in action
    ]
    return phase, sum(counts) if counts else -1


def _arrived(record: Record, text: str) -> None:
    phase, count = _filter_count(text)
    record.arrived[phase] = count


def _dropped(record: Record, text: str) -> None:
    phase, count = _filter_count(text)
    record.dropped[phase] = count


def _ipvs(record: Record, text: str) -> None:
    phase, *words = text.split()
    if len(words) == 13:
        _, connections, packets = (int(word, 16) for word in words[:3])
        record.ipvs[phase] = Ipvs(connections, packets, *map(int, words[6:]))


def _failed(record: Record, text: str) -> None:
    code, _, command = text.partition(" ")
    record.failure = f"'{command}' ended with {code}"


def _said(record: Record, text: str) -> None:
    record.said.append(text)


def _done(record: Record, text: str) -> None:
    record.done = True


_READERS = {
    "pktgen": _pktgen,
    "arrived": _arrived,
    "dropped": _dropped,
    "ipvs": _ipvs,
    "failed": _failed,
    "said": _said,
    "done": _done,
}
