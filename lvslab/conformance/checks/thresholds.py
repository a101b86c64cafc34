"""Connection thresholds of real servers (`-x`, `-y`): when new connections stop, and when they come
again.

Sources, Linux 6.1: ip_vs_bind_dest and ip_vs_unbind_dest in ip_vs_conn.c, __ip_vs_update_dest in
ip_vs_ctl.c.
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.checks.schedulers.distribution import RULES
from lvslab.conformance.entries import awaited
from lvslab.conformance.packets import must
from lvslab.conformance.scheduling import Change, Rig, Step
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol, Scheduler, SchedulerFlag

_FLAGS = {Scheduler.SH: (SchedulerFlag.SH_FALLBACK,), Scheduler.MH: (SchedulerFlag.MH_FALLBACK,)}


@check(
    "threshold:{scheduler}:upper",
    "{what}",
    tags=("{scheduler}", "threshold"),
    each=[
        {
            "scheduler": scheduler,
            "what": f"with {scheduler}, a server at its upper threshold gets no new connection; {rest}",
        }
        for scheduler, rest in (
            *(
                (each, "the others get them")
                for each in RULES
                if each not in (Scheduler.SH, Scheduler.MH, Scheduler.DH, Scheduler.LBLC)
            ),
            (Scheduler.SH, "its clients are refused"),
            (Scheduler.MH, "its clients are refused"),
            (Scheduler.DH, "its destinations are refused"),
        )
    ],
)
def upper(bench: Bench, scheduler: Scheduler, what: str) -> None:
    rig = Rig(bench, scheduler, (9, 9), thresholds={1: (3, 0), 2: (3, 0)})
    flows = rig.flows(12)
    places = rig.open("two servers that take three each", flows)
    must(max(places.count(1), places.count(2)) <= 3, "the model itself exceeds the threshold")
    must(None in places, "the model itself refuses nobody")
    rig.go_on("connections that were taken", flows)
    rig.change(Change("edit", 2, 9))
    rig.open("server 2 without threshold", rig.flows(8))


@check(
    "threshold:lblc:upper",
    "with lblc a server at its upper threshold keeps the destinations that it has; only other destinations go"
    " elsewhere",
    tags=("lblc", "threshold"),
)
def upper_lblc(bench: Bench) -> None:
    # ip_vs_lblc_schedule takes the destination's server without asking for IP_VS_DEST_F_OVERLOAD;
    # lblcr does ask.
    rig = Rig(bench, Scheduler.LBLC, (50, 50), thresholds={2: (2, 0)}, many_addresses=True)
    places = rig.open("one destination", rig.flows(5, destinations=("203.0.113.1",)))
    must(places == [2] * 5, f"the destination's connections went to {places}, not all to server 2")
    other = rig.open("another destination", rig.flows(2, destinations=("203.0.113.2",)))
    must(other == [1, 1], f"another destination's connections went to {other}, not to server 1")


@check(
    "threshold:boundary:{limit}",
    "a server with upper threshold {limit} takes {limit} connections, the next client is refused, those that"
    " it has go on",
    tags=("threshold", "boundary"),
    each=[{"limit": limit} for limit in (1, 2, 7)],
)
def boundary(bench: Bench, limit: int) -> None:
    rig = Rig(bench, Scheduler.RR, (1,), thresholds={1: (limit, 0)})
    flows = rig.flows(limit + 1)
    places = rig.open(f"threshold {limit}", flows)
    must(places == [1] * limit + [None], f"{limit + 1} connections went to {places}")
    rig.go_on("connections that were taken", flows)


@check(
    "threshold:none",
    "without threshold (0) no number of connections is too many",
    tags=("threshold", "boundary"),
)
def no_threshold(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.RR, (1,))
    must(rig.open("no threshold", rig.flows(40)) == [1] * 40, "a connection was refused")


@check(
    "threshold:closed-connections",
    "closed connections count for the threshold as long as their entries live: two that ended keep a server"
    " of threshold 2 full",
    tags=("threshold",),
)
def closed_connections(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.WLC, (1,), thresholds={1: (2, 0)})
    flows = rig.flows(2)
    rig.open("two connections", flows)
    rig.play("their ends", [Step("close", flow) for flow in flows])
    rig.must_count("after the ends")
    must(rig.open("a third connection", rig.flows(1)) == [None], "the third connection was taken")


@check(
    "threshold:{protocol}:ipv{version}",
    "thresholds hold for {protocol} over IPv{version}: servers of 2 and 3 take five connections, the sixth is"
    " refused",
    tags=("threshold", "{protocol}", "ipv{version}"),
    each=[
        {"protocol": Protocol.UDP, "version": 4},
        {"protocol": Protocol.TCP, "version": 6},
        {"protocol": Protocol.UDP, "version": 6},
    ],
)
def kinds(bench: Bench, protocol: Protocol, version: int) -> None:
    rig = Rig(
        bench, Scheduler.WRR, (1, 4), protocol=protocol, version=version, thresholds={1: (2, 0), 2: (3, 0)}
    )
    places = rig.open("six connections", rig.flows(6))
    must(
        (places.count(1), places.count(2), places.count(None)) == (2, 3, 1),
        f"the connections went to {places}",
    )


@check(
    "threshold:lower:{which}",
    "a full server stays closed while it has {at} connections and opens with {below}: {rule}",
    tags=("threshold", "boundary", "timer"),
    spoilt_by=0.5,
    each=[
        {"which": "given", "lower": 3, "at": 3, "below": 2, "rule": "less than the lower threshold 3"},
        {
            "which": "default",
            "lower": 0,
            "at": 6,
            "below": 5,
            "rule": "less than three quarters of the upper threshold 8",
        },
    ],
)
def lower_threshold(bench: Bench, which: str, lower: int, at: int, below: int, rule: str) -> None:
    rig = Rig(bench, Scheduler.RR, (1, 1), protocol=Protocol.UDP, thresholds={1: (8, lower), 2: (8, lower)})
    bench.apply("ipvsadm --set 0 0 300", "ipvsadm --set 0 0 300")
    rig.open("connections that stay", rig.flows(at + below))
    full = {each.number: each.total for each in rig.model.servers}
    must(full == {2: at, 1: below}, f"the model itself spreads them as {full}")
    bench.run("ipvsadm --set 0 0 1")
    brief = rig.flows(16 - at - below)
    extra = rig.flows(2)
    must(rig.open("filling up", [*brief, *extra])[-2:] == [None, None], "the servers were not full")
    _wait_until(rig, {2: (0, at), 1: (0, below)})
    for flow in brief:
        rig.model.expire(flow)
    places = rig.open("after some have expired", rig.flows(3))
    must(
        places == [1, 1, 1],
        f"three more connections went to {places}, not to server 1, the only one below its limit",
    )


def _wait_until(rig: Rig, wanted: dict[int, tuple[int, int]]) -> None:
    """Wait for connections to expire.

    Raises:
        CheckFailed: they stay.
    """
    must(
        awaited(lambda: rig.counts() == wanted),
        "connections did not expire",
        f"expected: {wanted}",
        f"seen:     {rig.counts()}",
    )


@check(
    "threshold:edit:{how}",
    "{what}",
    tags=("threshold", "change"),
    each=[
        {
            "how": "raise",
            "new": 3,
            "takes": 1,
            "what": "a full server whose upper threshold is raised by one takes one more",
        },
        {
            "how": "remove",
            "new": 0,
            "takes": 4,
            "what": "a full server whose threshold is removed takes everything",
        },
        {
            "how": "same",
            "new": 2,
            "takes": 0,
            "what": "a full server that is edited with the same threshold stays full",
        },
        {"how": "lower", "new": 1, "takes": 0, "what": "a full server whose threshold is lowered stays full"},
    ],
)
def edit_full(bench: Bench, how: str, new: int, takes: int, what: str) -> None:
    rig = Rig(bench, Scheduler.RR, (1,), thresholds={1: (2, 0)})
    must(rig.open("filling up", rig.flows(3)) == [1, 1, None], "the server was not full")
    rig.change(Change("edit", 1, 1, new, 0))
    places = rig.open(f"threshold {new}", rig.flows(4))
    must(
        places == [1] * takes + [None] * (4 - takes),
        f"four connections went to {places}, {takes} should be taken",
    )


@check(
    "threshold:edit:below-count",
    "a threshold below the number of connections that a server has stops it after one more; from 6.12.113 on"
    " at once",
    tags=("threshold", "change"),
)
def edit_below(bench: Bench) -> None:
    # __ip_vs_update_dest of 6.1 never sets IP_VS_DEST_F_OVERLOAD, it only takes it away;
    # ip_vs_bind_dest sets it.
    rig = Rig(bench, Scheduler.RR, (1,))
    rig.open("five connections", rig.flows(5))
    rig.change(Change("edit", 1, 1, 3, 0))
    taken = 0 if rig.model.ways.edits_count else 1
    places = rig.open("threshold 3", rig.flows(3))
    must(
        places == [1] * taken + [None] * (3 - taken),
        f"three connections went to {places}, {taken} should be taken",
    )


@check(
    "threshold:edit:raise-slightly",
    "a server full with 8 whose threshold is raised to 9 takes one more; from 6.12.113 on none: 8 is over"
    " three quarters of 9",
    tags=("threshold", "change", "boundary"),
)
def raise_slightly(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.RR, (1,), thresholds={1: (8, 0)})
    rig.open("filling up", rig.flows(9))
    rig.change(Change("edit", 1, 1, 9, 0))
    taken = 0 if rig.model.ways.edits_count else 1
    places = rig.open("threshold 9", rig.flows(2))
    must(
        places == [1] * taken + [None] * (2 - taken),
        f"two connections went to {places}, {taken} should be taken",
    )


@check(
    "threshold:{scheduler}:fallback",
    "with {scheduler}-fallback the clients of a full server go to others, until all are full; then they are"
    " refused",
    tags=("{scheduler}", "threshold"),
    each=[{"scheduler": scheduler} for scheduler in _FLAGS],
)
def fallback(bench: Bench, scheduler: Scheduler) -> None:
    rig = Rig(
        bench, scheduler, (1, 1, 1), flags=_FLAGS[scheduler], thresholds={1: (2, 0), 2: (3, 0), 3: (4, 0)}
    )
    places = rig.open("twelve clients, nine places", rig.flows(12))
    must(
        places == [*places[:9], None, None, None] and None not in places[:9], f"the clients went to {places}"
    )
