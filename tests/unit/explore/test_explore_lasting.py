"""The invariants about connections, drained servers, tables, counters and consoles, on scripted
records: where each holds, and where it does not.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lvslab.explore.invariants import INVARIANTS, connections, draining, judge, machines, tables
from lvslab.explore.records import Counted, Frame, Record, Shot, Violation
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection, ServiceStats
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService
from tests.unit.explore.scripted import (
    CLIENT,
    SERVERS,
    VIP,
    WHOLE,
    arp_reply,
    beat,
    happened,
    segment,
)

DOOR = f"{VIP}:80"


def ways(violations: Iterator[Violation]) -> list[str]:
    return [violation.how for violation in violations]


# -- connections-live ------------------------------------------------------------------------------


def sync_message(t: float, *ports: int) -> Frame:
    """A director tells of connections from these ports (struct ip_vs_sync_mesg)."""
    entries = b"".join(
        struct.pack("!BBHIHHHHII", 0, 6, 36, 0, 1, port, 80, 8080, 0, 900)
        + IPv4Address(CLIENT).packed
        + IPv4Address(VIP).packed
        + IPv4Address(SERVERS["rs1"]).packed
        for port in ports
    )
    data = struct.pack("!BBHBBH", 0, 1, 8 + len(entries), len(ports), 1, 0) + entries
    ends = ("10.0.1.1", 8848, "224.0.0.81", 8848)
    frame = segment(t, "lvs1", True, ends, protocol=17, data=data)
    return frame


CUT = happened("director-power-cut", "lvs1", 10.0)
DIED = (beat(1, 9.5), beat(1, 10.5, "reset", server=""))


def lost(**parts: object) -> list[str]:
    return ways(connections.connections_live(replace(WHOLE, **{"beats": DIED, **parts})))


def test_a_connection_that_goes_on_is_no_violation() -> None:
    assert not lost(happened=(CUT,), beats=(beat(1, 9.5), beat(1, 10.5)))


def test_a_director_may_not_take_its_connections_along() -> None:
    assert lost(happened=(CUT,)) == ["lost between sync messages"]
    assert lost(happened=(CUT,), frames=(sync_message(9.0, 39999, 40001),)) == ["lost though sync had told"]
    assert lost(happened=(CUT,), frames=(sync_message(9.0, 40002),)) == ["lost between sync messages"]
    assert lost(happened=(CUT,), frames=(sync_message(10.2, 40001),)) == ["lost between sync messages"]


def test_a_partner_that_was_away_does_not_know_what_it_was_told_before() -> None:
    away = happened("director-power-cut", "lvs2", 5.0, 6.0)
    frames = (sync_message(4.0, 40001),)
    assert lost(happened=(away, CUT), frames=frames) == ["told to a partner that has forgotten"]


def test_what_nothing_stands_in_for_may_end_connections() -> None:
    assert not lost(happened=(happened("partition", "lvs1", 10.0),))
    assert not lost(happened=(happened("server-killed", "rs1", 10.0),))
    assert not lost(happened=(CUT, happened("director-panic", "lvs2", 10.1)))
    assert not lost(happened=(CUT,), promise=replace(WHOLE.promise, synced=False))


def test_nobody_notices_what_happens_to_others() -> None:
    assert lost(happened=(happened("server-killed", "rs2", 10.0),)) == ["for no reason"]
    assert lost(happened=(happened("weight-zero", "rs1", 10.0),)) == ["for no reason"]
    assert lost() == ["for no reason"]


# -- drained-is-left -------------------------------------------------------------------------------

DRAINED = happened("weight-zero", "rs1", 10.0, 20.0)


def syn(t: float, port: int = 2000, server: str = "rs1") -> Frame:
    return segment(t, server, False, (CLIENT, port, SERVERS[server], 8080), flags=2, to=server)


def service(weight: int = 0) -> VirtualService:
    servers = (
        RealServer(SERVERS["rs1"], 8080, PacketForwarding.MASQ, weight),
        RealServer(SERVERS["rs2"], 8080, PacketForwarding.MASQ, 1),
    )
    return VirtualService(Protocol.TCP, VIP, 80, scheduler=Scheduler.RR, real_servers=servers)


def entry(port: int, state: str = "ESTABLISHED", expires: int = 890, server: str = "rs1") -> Connection:
    ends = (Endpoint.parse(f"{CLIENT}:{port}"), Endpoint.parse(DOOR))
    return Connection("TCP", expires, state, *ends, Endpoint.parse(f"{SERVERS[server]}:8080"))


def drained(*frames: Frame, shots: tuple[Shot, ...] = ()) -> list[str]:
    record = replace(WHOLE, happened=(DRAINED,), frames=frames, shots=shots)
    return ways(draining.drained_is_left(record))


def test_a_drained_server_keeps_what_it_has_and_gets_nothing_new() -> None:
    assert not drained(syn(9.0), syn(10.05), syn(10.3, 2000), syn(12.0, server="rs2"), syn(20.5, 2001))
    assert drained(syn(10.5, 2002)) == ["weight-zero, all the same"]


def test_the_tables_say_why_it_gets_some() -> None:
    template = replace(entry(0), state="NONE")
    held = Shot(20.0, "lvs1", (service(0),), (template,))
    assert drained(syn(12.0), shots=(held,)) == ["weight-zero, a persistent client comes back"]
    back = Shot(20.0, "lvs1", (service(1),), ())
    assert drained(syn(12.0), shots=(back,)) == ["weight-zero, its weight came back"]


# -- tables-agree, no-entry-outlives-its-timer -----------------------------------------------------


def pair(here: tuple[Connection, ...], there: tuple[Connection, ...], weight: int = 1) -> Record:
    """A pair at the end of a quiet world in which connection 1 has sent 80 packets."""
    ends = (CLIENT, 40001, VIP, 80)
    frames = tuple(segment(10 + place / 10, "c1", True, ends) for place in range(80))
    shots = (Shot(30.4, "lvs1", (service(1),), here), Shot(30.4, "lvs2", (service(weight),), there))
    beats = (beat(1, 10.0), beat(1, 29.0))
    return replace(WHOLE, beats=beats, frames=(*frames, arp_reply(30.1, "lvs1")), shots=shots)


def test_tables_of_a_pair_agree() -> None:
    known = (entry(40001),)
    assert not list(tables.tables_agree(pair(known, known)))
    assert ways(tables.tables_agree(pair(known, known, weight=0))) == ["weights"]
    assert ways(tables.tables_agree(pair(known, ()))) == ["connections"]
    assert ways(tables.tables_agree(pair(known, (entry(40001, server="rs2"),)))) == ["connections"]


def test_sync_must_have_had_its_time() -> None:
    late = replace(pair((entry(40001),), ()), happened=(happened("partition", "lvs1", 14.0, 15.0),))
    assert not list(tables.tables_agree(late))  # 30 packets since then
    broken = replace(late, happened=(happened("partition", "lvs1", 14.0),))
    assert not list(tables.tables_agree(replace(broken, shots=pair((), (), weight=0).shots)))


def test_entries_keep_to_their_timers() -> None:
    def of(*entries: Connection) -> list[str]:
        frames = (segment(5.0, "lvs1", False, (CLIENT, 40001, VIP, 80)),)
        shot = Shot(30.4, "lvs1", (), entries)
        return ways(tables.no_entry_outlives_its_timer(replace(WHOLE, frames=frames, shots=(shot,))))

    assert not of(entry(40001), entry(0, "NONE", 300), entry(40002, "CLOSE", 9))
    assert of(entry(40001, expires=902)) == ["ESTABLISHED, too long a time"]
    assert of(entry(40001, "CLOSE", 9)) == ["CLOSE, still there"]


# -- counters-equal-the-wires, quiet-consoles ------------------------------------------------------


def stats(conns: int, packets: int, octets: int) -> ServiceStats:
    numbers = {"conns": conns, "in_packets": packets, "in_bytes": octets}
    return ServiceStats(service=f"TCP {DOOR}", servers=(), out_packets=1, out_bytes=40, **numbers)


def counted(after: ServiceStats) -> Record:
    """One connection of three packets in, one packet out, of 40 bytes each."""
    before = replace(after, conns=0, in_packets=0, in_bytes=0, out_packets=0, out_bytes=0)
    into, out = (CLIENT, 2000, VIP, 80), (VIP, 80, CLIENT, 2000)
    frames = (
        arp_reply(30.1, "lvs1"),
        segment(35.0, "lvs1", False, into, flags=2),
        segment(35.1, "lvs1", True, out, flags=18, to="c1"),
        segment(35.2, "lvs1", False, into),
        segment(35.3, "lvs1", False, into),
        segment(45.0, "lvs1", False, into),
    )
    return replace(WHOLE, frames=frames, counted=(Counted("lvs1", 34.0, 40.0, (before,), (after,)),))


def test_counters_are_what_crossed_the_card() -> None:
    assert not list(machines.counters_equal_the_wires(counted(stats(1, 3, 120))))
    wrong = ways(machines.counters_equal_the_wires(counted(stats(2, 3, 121))))
    assert wrong == ["connections", "bytes in"]
    broken = replace(counted(stats(2, 3, 120)), happened=(happened("link-down", "rs1", 9.0),))
    assert not list(machines.counters_equal_the_wires(broken))


def test_a_console_is_quiet_unless_its_kernel_was_made_to_panic() -> None:
    quiet = replace(WHOLE, consoles={"lvs1": "Linux version 6.1\nIPVS: ipvs loaded.\n"})
    assert not list(machines.quiet_consoles(quiet))
    loud = replace(WHOLE, consoles={"lvs1": "[ 3.1] WARNING: CPU: 0 PID: 1 at net/ipv4/x.c:7\n"})
    assert ways(machines.quiet_consoles(loud)) == ["WARNING"]
    made = replace(loud, happened=(happened("director-panic", "lvs1", 9.0),))
    assert not list(machines.quiet_consoles(made))


@pytest.mark.parametrize("name", INVARIANTS)
def test_every_invariant_holds_in_a_world_in_which_nothing_happened(name: str) -> None:
    invariant: Callable[[Record], Iterator[Violation]] = INVARIANTS[name]
    assert not list(invariant(replace(WHOLE, frames=(arp_reply(30.1, "lvs1"),))))


def test_a_failure_is_judged_once() -> None:
    twice = replace(WHOLE, beats=(*DIED, beat(2, 9.5), beat(2, 10.5, "reset", server="")), happened=(CUT,))
    names = [violation.invariant for violation in judge(twice)]
    assert names.count("connections-live") == 1
