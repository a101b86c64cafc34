"""When an entry must be gone, and that it is neither sooner nor later."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.conformance.jiffies import goes_off, granularity
from lvslab.conformance.packets import must
from lvslab.conformance.virtual import HZ, VirtualBench
from lvslab.ipvs.listings import Connection

Which = Callable[[Connection], bool]


def connection_of(client: str) -> Which:
    """The connections of a client."""
    return lambda entry: entry.client.address == client and not entry.is_template


def template_of(client: str, port: int | None = None) -> Which:
    """The templates of a client, or those with this virtual port."""
    return lambda entry: (
        entry.client.address == client and entry.is_template and (port is None or entry.virtual.port == port)
    )


def look(bench: VirtualBench, which: Which) -> Connection | None:
    """The entry that is meant, at this moment; None where it is not there.

    Raises:
        CheckFailed: there are several, or looking took longer than the jiffy.
    """
    jiffy = bench.jiffy
    listed = [entry for entry in bench.ipvsadm.list_connections() if which(entry)]
    must(bench.jiffy == jiffy, "the table could not be read within one jiffy")
    must(len(listed) <= 1, f"one entry was expected, there are {len(listed)}", *map(str, listed))
    return listed[0] if listed else None


def must_last(
    bench: VirtualBench, which: Which, state: str, seconds: int, *, armed: int | None = None
) -> int:
    """The entry must have this state and lifetime: its timer was armed in this very jiffy, or in
    `armed`, with which it goes a second less to the next jiffy.

    Returns:
        The jiffy in which the timer goes off.

    Raises:
        CheckFailed: there is none, or it has another state or lifetime.
    """
    armed = bench.jiffy if armed is None else armed
    for jiffy in (bench.jiffy, bench.jiffy + 1):
        bench.go_to(jiffy)
        entry = look(bench, which)
        # ip_vs_conn_seq_show: what is left in seconds, rounded down.
        left = (seconds * HZ - (bench.jiffy - armed)) // HZ
        must(entry is not None, f"{state}: no entry {bench.jiffy - armed} jiffies after its last packet")
        assert entry is not None
        must(entry.state == state, f"state {state} was expected, seen: {entry.state}", str(entry))
        must(
            entry.expires == left,
            f"{state}: {seconds} s were expected, of which {left} s are shown {bench.jiffy - armed} jiffies"
            f" after the last packet; {entry.expires} s are",
            str(entry),
        )
    return goes_off(armed, seconds * HZ)


def must_go(bench: VirtualBench, which: Which, end: int, what: str) -> None:
    """The entry must be there in the jiffy before this one, and gone in this one.

    Raises:
        CheckFailed: it goes sooner or later.
    """
    bench.go_to(end - 1)
    must(look(bench, which) is not None, f"{what}: gone before the last jiffy of its lifetime, {end - 1}")
    bench.go_to(end)
    entry = look(bench, which)
    must(entry is None, f"{what}: still there in jiffy {end}, in which its timer goes off", str(entry))


def must_live(bench: VirtualBench, which: Which, state: str, seconds: int) -> None:
    """Both, for an entry whose timer was armed in this jiffy: it has this state and lifetime, and
    goes when the timer wheel says, at most one bucket later than the lifetime.
    """
    armed = bench.jiffy
    end = must_last(bench, which, state, seconds)
    assert 0 < end - armed - seconds * HZ <= granularity(seconds * HZ)
    must_go(bench, which, end, f"{state}, {seconds} s")
