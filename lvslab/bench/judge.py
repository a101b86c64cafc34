"""Whether a measurement's packets really went the way that its handling demands; only then its cost
is a figure.
"""

from __future__ import annotations

from lvslab.bench.measurements import Handling, Measurement
from lvslab.bench.setup import Pass, passes
from lvslab.bench.transcript import Record
from lvslab.runs.stats import median


def problem(measurement: Measurement, record: Record) -> str:
    """What is wrong with a record, in a sentence; "" when every packet arrived as it must."""
    if record.problem:
        return record.problem
    if not record.done:
        return "the measurement did not come to its end"
    sent = passes(measurement)
    for index, each in enumerate(sent):
        wrong = _wrongly_sent(each, record)
        if not wrong and (index + 1 == len(sent) or sent[index + 1].phase != each.phase):
            wrong = _wrongly_arrived(measurement, sent[: index + 1], record)
        if wrong:
            return wrong
    return ""


def cost(measurement: Measurement, record: Record, phase: str) -> float:
    """Instructions per packet of a phase: the median of its passes (1 ns of virtual time is one
    instruction).
    """
    rounds = [
        record.sent[each.name].microseconds * 1000 / each.packets
        for each in passes(measurement)
        if each.phase == phase
    ]
    middle = median(rounds)
    assert middle is not None  # every phase has passes
    return middle


def _wrongly_sent(each: Pass, record: Record) -> str:
    found = record.sent.get(each.name)
    if found is None or not found.microseconds:
        return f"{each.name}: the packet generator gave no result"
    if found.packets != each.packets or found.errors:
        return f"{each.name}: {found.packets} of {each.packets} packets sent, {found.errors} errors"
    return ""


def _wrongly_arrived(measurement: Measurement, sent: tuple[Pass, ...], record: Record) -> str:
    """Compare all counters after some passes with what these must have led to."""
    phase, packets = sent[-1].phase, sum(each.packets for each in sent)
    if measurement.handling is Handling.DROP:
        if record.dropped.get(phase) != packets:
            return (
                f"{phase}: {record.dropped.get(phase, 'no count')} of {packets} packets were dropped where"
                " they enter"
            )
        return (
            ""
            if record.arrived.get(phase) == 0
            else f"{phase}: {record.arrived.get(phase, 'no count')} packets arrived, 0 should"
        )
    if record.arrived.get(phase) != packets:
        return (
            f"{phase}: {record.arrived.get(phase, 'no count')} of {packets} packets arrived as"
            f" {measurement.handling} demands (hardware address, protocol, addresses, port)"
        )
    return "" if measurement.handling.is_baseline else _wrongly_counted(measurement, sent, record)


def _wrongly_counted(measurement: Measurement, sent: tuple[Pass, ...], record: Record) -> str:
    phase, packets = sent[-1].phase, sum(each.packets for each in sent)
    connections = sum({each.group: each.flows for each in sent}.values())
    found = record.ipvs.get(phase)
    if found is None:
        return f"{phase}: IPVS's counters could not be read"
    tcp = measurement.traffic.protocol == "tcp"
    acked = any(each.phase == "ack" for each in sent)
    expected = {
        "connections": (found.connections, connections),
        "packets": (found.packets, packets),
        "real servers": (found.servers, measurement.servers),
        "connections at real servers": (found.active + found.inactive, connections),
        "connections in SYN_RECV": (found.syn_recv, connections if tcp and not acked else 0),
        "connections in ESTABLISHED": (found.established, connections if acked else 0),
    }
    if measurement.scheduler == "rr":
        expected["unevenly served connections"] = (
            found.most - found.fewest,
            0 if connections % measurement.servers == 0 else 1,
        )
    wrong = [f"{name} {seen}, not {wanted}" for name, (seen, wanted) in expected.items() if seen != wanted]
    return f"{phase}: IPVS counted {'; '.join(wrong)}" if wrong else ""
