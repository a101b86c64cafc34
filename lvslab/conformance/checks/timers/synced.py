"""Lifetimes of entries that another director has told of, and when a master tells.

Facts, ip_vs_sync.c: ip_vs_proc_conn takes the seconds of the message, or, where they are 0 (and in
version 0 always), the state's own lifetime, and 180 s for a template. sync_thread_master looks
every second (IPVS_SYNC_CHECK_PERIOD) whether the buffer is two seconds old (IPVS_SYNC_FLUSH_TIME).
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.checks.sync.templates import template
from lvslab.conformance.checks.timers.ends import connection_of, must_live, template_of
from lvslab.conformance.checks.timers.states import TCP
from lvslab.conformance.jiffies import granularity
from lvslab.conformance.packets import must
from lvslab.conformance.syncing import Backup, Master, entry, segments
from lvslab.conformance.virtual import HZ, VirtualBench

_STATES = {**TCP, "LAST_ACK": 30, "LISTEN": 120, "NONE": 2}
"""Of ip_vs_proto_tcp.c, those included that only another director can tell of."""

_FLUSH, _LOOK = 2 * HZ, HZ
"""Jiffies."""


@check(
    "timers:sync:{state}",
    "a connection in {state} that another director tells of without a lifetime lives {seconds} s, to the"
    " jiffy",
    tags=("sync", "tcp"),
    each=[{"state": state, "seconds": seconds} for state, seconds in _STATES.items()],
)
def by_state(bench: VirtualBench, state: str, seconds: int) -> None:
    bench.service("dr")
    backup, client = Backup(bench), bench.client()
    bench.next_jiffy()
    backup.tell(entry("dr", client, state, timeout=0))
    must_live(bench, connection_of(client), state, seconds)


@check(
    "timers:sync:told:{seconds}",
    "a connection lives the {seconds} s that the message says, whatever its state, to the jiffy",
    tags=("sync", "tcp"),
    each=[{"seconds": 1}, {"seconds": 77}, {"seconds": 2000}],
)
def told(bench: VirtualBench, seconds: int) -> None:
    bench.service("dr")
    backup, client = Backup(bench), bench.client()
    bench.next_jiffy()
    backup.tell(entry("dr", client, "FIN_WAIT", timeout=seconds))
    must_live(bench, connection_of(client), "FIN_WAIT", seconds)


@check(
    "timers:sync:version-0",
    "a message of version 0 says no lifetime: the state's own holds, to the jiffy",
    tags=("sync", "tcp"),
)
def version_0(bench: VirtualBench) -> None:
    bench.service("dr")
    backup, client = Backup(bench), bench.client()
    bench.next_jiffy()
    backup.tell(entry("dr", client, sync=0), version=0)
    must_live(bench, connection_of(client), "ESTABLISHED", TCP["ESTABLISHED"])


@check(
    "timers:sync:template:{told}",
    "a template that another director tells of lives {seconds} s, to the jiffy: {why}",
    tags=("sync", "persistence"),
    each=[
        {"told": 0, "seconds": 180, "why": "the message says none"},
        {"told": 333, "seconds": 333, "why": "as the message says"},
    ],
)
def of_template(bench: VirtualBench, told: int, seconds: int, why: str) -> None:
    bench.service("dr", persistence_timeout=300)
    backup, client = Backup(bench), bench.client()
    bench.next_jiffy()
    backup.tell(template(client, assured=True, timeout=told))
    must_live(bench, template_of(client), "ASSURED", seconds)


@check(
    "timers:sync:flush",
    "a master tells of a connection when its buffer is two seconds old, at the next look, of which there is"
    " one a second",
    tags=("sync",),
)
def flush(bench: VirtualBench) -> None:
    bench.service("dr", weights=(1,))
    master = Master(bench, threshold=(2, 50), maxlen=0)
    for _ in range(3):
        client, armed = bench.client(), bench.next_jiffy()
        master.client(*segments(4, client, "S", "A"))
        frame, _ = bench.inside.receive(master.is_sync, 10.0)
        must(frame is not None, "no sync message came within 10 s")
        assert frame is not None
        must(
            [told.caddr for told in master.message(frame).conns] == [client],
            "the message was to be about this client",
            frame.summary(),
        )
        late = bench.jiffy - armed
        latest = _FLUSH + _LOOK + granularity(_LOOK)
        must(
            _FLUSH <= late <= latest,
            f"it came {late} jiffies after the packet; {_FLUSH} to {latest} were expected",
        )
