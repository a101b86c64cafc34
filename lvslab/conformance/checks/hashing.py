"""Schedulers by address: sh, mh and dh by hash, lblc and lblcr by destination; who is moved when
servers change.

The hash functions have constant keys, so every single client's server is known beforehand
(lvslab.conformance.models).
"""

from __future__ import annotations

from collections.abc import Callable

from lvslab.conformance.check import check
from lvslab.conformance.models.schedulers import Hashing, LocalityBasedReplicated
from lvslab.conformance.models.servers import Server
from lvslab.conformance.packets import must
from lvslab.conformance.scheduling import Change, Rig
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION, VERSIONS
from lvslab.ipvs.service import Protocol, Scheduler, SchedulerFlag
from lvslab.runs.words import plural

_PORT = {Scheduler.SH: SchedulerFlag.SH_PORT, Scheduler.MH: SchedulerFlag.MH_PORT}
_FALLBACK = {Scheduler.SH: SchedulerFlag.SH_FALLBACK, Scheduler.MH: SchedulerFlag.MH_FALLBACK}
_SOURCE = (Scheduler.SH, Scheduler.MH)
_LOCAL = (Scheduler.LBLC, Scheduler.LBLCR)
_MANY = {
    4: tuple(f"203.0.113.{n}" for n in range(1, 25)),
    6: tuple(f"2001:db8:d::{n:x}" for n in range(1, 25)),
}


def _table(rig: Rig) -> list[Server]:
    assert isinstance(rig.model.algorithm, Hashing)
    return rig.model.algorithm.table


# -- which bytes are hashed ------------------------------------------------------------------------


@check(
    "hash:{scheduler}:port-{setting}:{protocol}:ipv{version}",
    "{what}",
    tags=("{scheduler}", "hash", "{protocol}", "ipv{version}"),
    each=[
        {
            "scheduler": scheduler,
            "setting": setting,
            "protocol": protocol,
            "version": version,
            "what": (
                f"without {_PORT[scheduler]} all connections of a client go to one server, whatever their"
                " ports"
                if setting == "off"
                else f"with {_PORT[scheduler]} the connections of one client are spread by their source ports"
            ),
        }
        for scheduler in _SOURCE
        for setting in ("off", "on")
        for protocol in (Protocol.TCP, Protocol.UDP)
        for version in VERSIONS
    ],
)
def ports(
    bench: Bench, scheduler: Scheduler, setting: str, protocol: Protocol, version: int, what: str
) -> None:
    flags = (_PORT[scheduler],) if setting == "on" else ()
    rig = Rig(bench, scheduler, (1, 1, 1, 1), protocol=protocol, version=version, flags=flags)
    for number in (1, 2):
        places = rig.open(f"client {number}", rig.flows(16, client=bench.client(version)))
        used = len(set(places))
        must(
            (used > 1) == (setting == "on"),
            f"the connections of one client went to {plural(used, 'server')}: {places}",
        )


@check(
    "hash:dh:destinations:ipv{version}",
    "dh sends every client of a destination to one server, and destinations to servers by their hash alone,"
    " whatever the weights",
    tags=("dh", "hash", "ipv{version}"),
    each=EACH_VERSION,
)
def destinations(bench: Bench, version: int) -> None:
    rig = Rig(bench, Scheduler.DH, (1, 5, 1), version=version, many_addresses=True)
    first = rig.open("the first clients", rig.flows(24, destinations=_MANY[version]))
    second = rig.open("other clients", rig.flows(24, destinations=_MANY[version]))
    must(first == second, "other clients of the same destinations went elsewhere", str(first), str(second))
    must(set(first) == {1, 2, 3}, f"the destinations use servers {set(first)} only")
    shares = {number: sum(each.number == number for each in _table(rig)) for number in (1, 2, 3)}
    must(max(shares.values()) - min(shares.values()) <= 1, f"the model's table is not even: {shares}")


@check(
    "hash:dh:refused",
    "dh refuses the destinations of a quiescent server and of a full one, the others' are served: it has no"
    " fallback",
    tags=("dh", "hash", "weight-0", "threshold"),
)
def dh_refused(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.DH, (1, 0, 1), thresholds={3: (2, 0)}, many_addresses=True)
    places = rig.open("24 destinations", rig.flows(24, destinations=_MANY[4]))
    must(places.count(3) == 2 and 2 not in places and None in places, f"the destinations went to {places}")


@check(
    "hash:mh:large-weights",
    "mh cuts weights to six bits: 65535:1:300 shares the table as 63:1:1, because a weight that is cut to 0"
    " counts as 1",
    tags=("mh", "hash", "boundary"),
)
def large_weights(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.MH, (65535, 1, 300))
    rig.open("60 clients", rig.flows(60))
    shares = {number: sum(each.number == number for each in _table(rig)) for number in (1, 2, 3)}
    must(shares[2] > 0 and abs(shares[2] - shares[3]) <= 1, f"the model's table is shared as {shares}")


# -- fallback --------------------------------------------------------------------------------------


@check(
    "hash:{scheduler}:fallback-{setting}",
    "{what}",
    tags=("{scheduler}", "hash", "weight-0"),
    each=[
        {
            "scheduler": scheduler,
            "setting": setting,
            "what": (
                f"without {_FALLBACK[scheduler]} the clients of servers with weight 0 are refused, others"
                " are served"
                if setting == "off"
                else (
                    f"with {_FALLBACK[scheduler]} the clients of servers with weight 0 go to others, as the"
                    " hash with an offset says"
                )
            ),
        }
        for scheduler in _SOURCE
        for setting in ("off", "on")
    ],
)
def fallback(bench: Bench, scheduler: Scheduler, setting: str, what: str) -> None:
    # Unequal weights, and two of five quiescent: with equal ones the next slot of the table and the
    # slot that the hash gives with an offset belong to the same server often enough.
    rig = Rig(bench, scheduler, (1, 3, 2, 4, 1), flags=(_FALLBACK[scheduler],) if setting == "on" else ())
    clients = [bench.client() for _ in range(24)]
    before = rig.open("all there", [flow for client in clients for flow in rig.flows(1, client=client)])
    must({2, 4} <= set(before), f"servers 2 and 4 have no clients: {before}")
    rig.change(Change("edit", 2, 0), Change("edit", 4, 0))
    after = rig.open(
        "servers 2 and 4 with weight 0",
        [flow for client in clients for flow in rig.flows(1, client=client)],
    )
    if scheduler is Scheduler.MH:  # sh's table depends on the weights, so others move as well
        stayed = all(new == old for old, new in zip(before, after, strict=True) if old not in (2, 4))
        must(stayed, "clients of other servers were moved", str(before), str(after))
    refused = {old for old, new in zip(before, after, strict=True) if new is None}
    must(bool(refused) == (setting == "off"), f"clients of {refused} were refused")
    must(not {2, 4} & set(after), f"a server with weight 0 got a client: {after}")
    rig.change(Change("edit", 2, 3), Change("edit", 4, 4))
    again = rig.open("both back", [flow for client in clients for flow in rig.flows(1, client=client)])
    must(again == before, "not every client is back at its server", str(before), str(again))


@check(
    "hash:{scheduler}:fallback:ipv6",
    "{scheduler} with both flags finds another server for clients of a quiescent one over IPv6, by address"
    " and port",
    tags=("{scheduler}", "hash", "ipv6", "weight-0"),
    each=[{"scheduler": scheduler} for scheduler in _SOURCE],
)
def fallback6(bench: Bench, scheduler: Scheduler) -> None:
    rig = Rig(bench, scheduler, (1, 2, 0, 1), version=6, flags=(_FALLBACK[scheduler], _PORT[scheduler]))
    places = rig.open("24 clients", rig.flows(24))
    rig.change(Change("edit", 2, 0))
    places += rig.open("server 2 quiescent", rig.flows(24))
    must(None not in places and 3 not in places, f"the clients went to {places}")


@check(
    "hash:{scheduler}:flags-in-flight",
    "ipvsadm -E with other flags counts from the next connection on: port and fallback on, then off again",
    tags=("{scheduler}", "hash", "change"),
    each=[{"scheduler": scheduler} for scheduler in _SOURCE],
)
def flags_in_flight(bench: Bench, scheduler: Scheduler) -> None:
    rig = Rig(bench, scheduler, (1, 1, 0, 1))
    for flags in ((), (_PORT[scheduler],), (_FALLBACK[scheduler], _PORT[scheduler]), ()):
        if flags or rig.model.flags:
            rig.change_scheduler(scheduler, flags)
        words = ", ".join(flags) or "no flags"
        # Few for one client: the kernel sends a client six ICMP errors at once, then one a second
        # (icmp_ratelimit).
        rig.open(f"one client, {words}", rig.flows(5, client=bench.client()))
        rig.open(f"many clients, {words}", rig.flows(10))


# -- who is moved ----------------------------------------------------------------------------------

_PROMISES: dict[tuple[Scheduler, str], tuple[str, Callable[[float], bool]]] = {
    (Scheduler.MH, "leave"): (
        "at most 2 % of the table that was not the leaving server's is moved",
        lambda moved: moved <= 0.02,
    ),
    (Scheduler.MH, "join"): (
        "at most 2 % of the table that the new server does not take is moved",
        lambda moved: moved <= 0.02,
    ),
    (Scheduler.MH, "quiesce"): ("nothing else is moved", lambda moved: moved == 0),
    (Scheduler.SH, "leave"): (
        "more than half of the table that was not the leaving server's is moved",
        lambda moved: moved > 0.5,
    ),
    (Scheduler.SH, "join"): (
        "more than half of the table that the new server does not take is moved",
        lambda moved: moved > 0.5,
    ),
    (Scheduler.SH, "quiesce"): (
        "more than half of the other servers' table is moved",
        lambda moved: moved > 0.5,
    ),
    (Scheduler.DH, "leave"): (
        "more than half of the table that was not the leaving server's is moved",
        lambda moved: moved > 0.5,
    ),
    (Scheduler.DH, "join"): (
        "more than half of the table that the new server does not take is moved",
        lambda moved: moved > 0.5,
    ),
    (Scheduler.DH, "quiesce"): ("nothing else is moved", lambda moved: moved == 0),
}


@check(
    "hash:{scheduler}:moved:{change}",
    "{change} with {scheduler} and eight servers: {what}; every client goes where the table says before and"
    " after",
    tags=("{scheduler}", "hash", "change", "disruption"),
    each=[
        {"scheduler": scheduler, "change": change, "what": what}
        for (scheduler, change), (what, _) in _PROMISES.items()
    ],
)
def moved(bench: Bench, scheduler: Scheduler, change: str, what: str) -> None:
    """The promise is judged on the whole table, and the kernel's table by 48 clients (or 24
    destinations) before and after.
    """
    servers = 7 if change == "join" else 8
    rig = Rig(bench, scheduler, (2,) * servers, many_addresses=scheduler is Scheduler.DH)
    clients = [bench.client() for _ in range(48)]
    called = _MANY[4] if scheduler is Scheduler.DH else ("",)

    def everybody(when: str) -> None:
        callers = [
            flow
            for n, client in enumerate(clients)
            for flow in rig.flows(1, client=client, destinations=(called[n % len(called)],))
        ]
        rig.open(when, callers)

    everybody("before")
    before = list(_table(rig))
    number = 8 if change == "join" else 3
    rig.change(
        {"leave": Change("remove", 3), "join": Change("add", 8, 2), "quiesce": Change("edit", 3, 0)}[change]
    )
    after = _table(rig)
    # A client that goes to or leaves the server in question has to move.
    others = [
        (old, new)
        for old, new in zip(before, after, strict=True)
        if number not in (old.number, new.number) or change == "leave"
    ]
    others = [(old, new) for old, new in others if old.number != number]
    share = sum(old is not new for old, new in others) / len(others)
    must(
        _PROMISES[scheduler, change][1](share),
        f"{100 * share:.1f} % of the others were moved; promised: {what}",
    )
    everybody("after")


# -- locality --------------------------------------------------------------------------------------


@check(
    "hash:{scheduler}:locality:ipv{version}",
    "{scheduler} keeps the connections of a destination at its server while others are spread: {rule}",
    tags=("{scheduler}", "locality", "ipv{version}"),
    each=[
        {"scheduler": scheduler, "version": version, "rule": rule}
        for scheduler, rule in zip(
            _LOCAL,
            ("a busy server hands it over", "a busy server gets a second one at its side"),
            strict=True,
        )
        for version in VERSIONS
    ],
)
def locality(bench: Bench, scheduler: Scheduler, version: int, rule: str) -> None:
    rig = Rig(bench, scheduler, (6, 6, 6), version=version, many_addresses=True)
    called = _MANY[version]
    once = rig.open("three destinations", rig.flows(3, destinations=called[:3]))
    must(len(set(once)) == 3, f"three destinations went to {once}, not to three servers")
    twice = rig.open("the same destinations", rig.flows(3, destinations=called[:3]))
    must(twice == once, f"the same destinations went to {twice}, not to {once}")
    many = rig.open("one of them becomes busy", rig.flows(9, destinations=called[:1]))
    must(len(set(many)) > 1, f"the busy destination stayed at {set(many)} alone")
    rig.open("all of them again", rig.flows(6, destinations=called[:3]))


@check(
    "hash:lblcr:expiration",
    "a destination's set of servers loses its most loaded one when it was not changed for lblcr_expiration"
    " seconds",
    tags=("lblcr", "locality", "timer"),
)
def lblcr_expiration(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.LBLCR, (2, 2), many_addresses=True)
    bench.sysctl("net.ipv4.vs.lblcr_expiration", 86400)
    called = _MANY[4][:1]
    places = rig.open("until there are two servers", rig.flows(5, destinations=called))
    must(
        places == [2, 2, 2, 1, 1],
        f"the destination went to {places}, not to server 2 and, when that was busy, server 1",
    )
    bench.sysctl("net.ipv4.vs.lblcr_expiration", 0)
    # The connection that finds the set too old takes its least loaded member, server 1; the most
    # loaded one is out.
    algorithm = rig.model.algorithm
    assert isinstance(algorithm, LocalityBasedReplicated)
    algorithm.expire(called[0])
    (last,) = rig.open("the set has expired", rig.flows(1, destinations=called))
    bench.sysctl("net.ipv4.vs.lblcr_expiration", 86400)
    must(last == 1, f"the connection went to server {last}, not to the least loaded")
    rig.open("with the set that is left", rig.flows(3, destinations=called))
