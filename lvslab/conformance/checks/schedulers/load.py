"""Connections open and close: schedulers that look at load, overflow, and chance."""

from __future__ import annotations

import random

from scapy.layers.inet import TCP, UDP

from lvslab.conformance.addresses import SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.models.servers import Flow
from lvslab.conformance.packets import must
from lvslab.conformance.scheduling import Change, Rig, Step
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol, Scheduler

# -- connections open and close --------------------------------------------------------------------

COUNTING = {
    Scheduler.LC: "closed ones count as 1/256 of an open one",
    Scheduler.WLC: "closed ones count as 1/256 of an open one",
    Scheduler.SED: "closed ones do not count",
    Scheduler.NQ: "closed ones do not count, and a server with closed ones only is idle",
    Scheduler.OVF: "closed ones do not count",
    Scheduler.LBLC: "closed ones do not make a server busy, but count as 1/256 when another is sought",
    Scheduler.LBLCR: "closed ones do not make a server busy, but count as 1/256 when another is sought",
}


@check(
    "scheduler:{scheduler}:open-and-close",
    "new connections are placed by the connections that are open at that moment, in any order of opening and"
    " closing: {rule}",
    tags=("{scheduler}", "connections", "tcp"),
    each=[{"scheduler": scheduler, "rule": rule} for scheduler, rule in COUNTING.items()],
)
def open_and_close(bench: Bench, scheduler: Scheduler, rule: str) -> None:
    rig = Rig(bench, scheduler, (1, 2, 4))
    order = random.Random(4)
    opened: list[Flow] = []
    for burst in range(3):
        flows = rig.flows(8)
        rig.open(f"burst {burst}", flows)
        opened += [flow for flow in flows if rig.model.knows(flow)]
        closing = order.sample(opened, 5)
        opened = [flow for flow in opened if flow not in closing]
        rig.play(f"closing after burst {burst}", [Step("close", flow) for flow in closing])
    rig.must_count("in the end")


@check(
    "scheduler:{scheduler}:closed-connection",
    "with one closed connection at server 2 and none at server 1, the next connection goes to server"
    " {goes_to}: {rule}",
    tags=("{scheduler}", "connections", "tcp"),
    each=[
        {
            "scheduler": scheduler,
            "goes_to": 1 if scheduler in (Scheduler.LC, Scheduler.WLC) else 2,
            "rule": COUNTING[scheduler],
        }
        for scheduler in (Scheduler.LC, Scheduler.WLC, Scheduler.SED, Scheduler.NQ)
    ],
)
def closed_connection(bench: Bench, scheduler: Scheduler, goes_to: int, rule: str) -> None:
    rig = Rig(bench, scheduler, (1, 1))
    first, second = rig.flows(2)
    must(rig.open("the first connection", [first]) == [2], "the first connection did not go to server 2")
    rig.play("its end", [Step("close", first)])
    rig.must_count("after the end")
    places = rig.open("the next connection", [second])
    must(places == [goes_to], f"the next connection went to server {places[0]}, not {goes_to}")


@check(
    "scheduler:lc:active-against-inactive",
    "one open connection weighs as much as 256 closed ones (257 from 6.12.113 on): one less is lighter, as"
    " many are a tie",
    tags=("lc", "connections", "tcp"),
)
def active_against_inactive(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.LC, (1, 0))
    cost = rig.model.ways.active_cost
    closed = rig.flows(cost - 1)
    rig.play(
        f"{cost - 1} connections to server 1",
        [Step(what, flow) for flow in closed for what in ("open", "close")],
    )
    rig.change(Change("edit", 1, 0), Change("edit", 2, 1))
    rig.open("one connection to server 2", rig.flows(1))
    rig.change(Change("edit", 1, 1))
    rig.must_count("before the decision")
    below, tie, above = rig.flows(3)
    must(
        rig.open(f"{cost - 1} closed against 1 open", [below]) == [1],
        f"with {cost - 1} closed ones server 1 was not chosen",
    )
    rig.play("the end of that connection", [Step("close", below)])
    must(
        rig.open(f"{cost} closed against 1 open", [tie]) == [2],
        "the tie did not go to server 2, the first of the list",
    )
    rig.play("the end of that connection", [Step("close", tie)])
    must(
        rig.open(f"{cost} closed against 1 open and 1 closed", [above]) == [1],
        "the smaller one was not chosen",
    )


@check(
    "scheduler:counts:{protocol}",
    "{rule}",
    tags=("connections", "{protocol}"),
    each=[
        {
            "protocol": Protocol.TCP,
            "rule": "a TCP connection is active from its SYN on; after a FIN it is inactive",
        },
        {
            "protocol": Protocol.UDP,
            "rule": "a UDP connection is never active, whatever is sent in either direction",
        },
    ],
)
def counts(bench: Bench, protocol: Protocol, rule: str) -> None:
    rig = Rig(bench, Scheduler.RR, (1, 1), protocol=protocol)
    flows = rig.flows(4)
    rig.open("four connections", flows)
    rig.must_count("after the first packets")
    if protocol is Protocol.TCP:
        rig.play("the FINs", [Step("close", flow) for flow in flows[:3]])
    else:
        number = rig.model.serving(flows[0])
        answer = (
            rig.net.packet(rig.net.server(number), flows[0].source)
            / UDP(sport=SERVER_PORT, dport=flows[0].port)
            / b"answer"
        )
        bench.from_server(number, answer).one("outside", "the answer")
        rig.go_on("further datagrams", flows)
    rig.must_count("in the end")


@check(
    "scheduler:counts:fin",
    "a TCP connection stays active while it is established and becomes inactive with the first FIN, not with"
    " the last",
    tags=("connections", "tcp"),
)
def counts_fin(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.LC, (1,))
    (flow,) = rig.flows(1)
    rig.open("the SYN", [flow])

    def server(flags: str, seq: int, ack: int) -> None:
        tcp = TCP(sport=SERVER_PORT, dport=flow.port, flags=flags, seq=seq, ack=ack)
        bench.from_server(1, rig.net.packet(rig.net.server(1), flow.source) / tcp).one(
            "outside", f"the server's {flags}"
        )

    def client(flags: str, seq: int, ack: int) -> None:
        tcp = TCP(sport=flow.port, dport=rig.port, flags=flags, seq=seq, ack=ack)
        bench.from_client(rig.net.packet(flow.source, flow.destination) / tcp).one(
            "inside", f"the client's {flags}"
        )

    def must_be(what: str, active: int, inactive: int) -> None:
        seen = rig.counts()[1]
        must(
            seen == (active, inactive),
            f"{what}: active {seen[0]}, inactive {seen[1]}, expected {active} and {inactive}",
        )

    must_be("after the SYN", 1, 0)
    server("SA", 9000, 1001)
    must_be("after the SYN and ACK", 1, 0)
    client("A", 1001, 9001)
    must_be("established", 1, 0)
    client("FA", 1001, 9001)
    must_be("after the client's FIN", 0, 1)
    server("FA", 9001, 1002)
    client("A", 1002, 9002)
    must_be("after both FINs", 0, 1)


@check(
    "scheduler:counts:reset:{state}",
    "a client's reset {what}",
    tags=("connections", "tcp"),
    each=[
        {
            "state": "half-open",
            "what": "does not end a half-open connection: it stays SYN_RECV and active",
            "active": True,
        },
        {
            "state": "established",
            "what": "ends an established connection: it is inactive at once",
            "active": False,
        },
    ],
)
def counts_reset(bench: Bench, state: str, what: str, active: bool) -> None:
    # tcp_states in ip_vs_proto_tcp.c: "rst" from the client takes ESTABLISHED to CLOSE, but
    # SYN_RECV to SYN_RECV.
    rig = Rig(bench, Scheduler.LC, (1,))
    (flow,) = rig.flows(1)
    rig.open("the SYN", [flow])
    if state == "established":
        rig.go_on("the ACK", [flow])
    reset = rig.net.packet(flow.source, flow.destination) / TCP(
        sport=flow.port, dport=rig.port, flags="R", seq=1001
    )
    bench.from_client(reset).one("inside", "the reset")
    if not active:
        rig.model.settle(flow)
    rig.must_count(f"after a reset in the state {state}")


@check(
    "scheduler:{scheduler}:idle-first",
    "with weights 10:1 the second connection goes to server {second}: {rule}",
    tags=("{scheduler}", "connections"),
    each=[
        {
            "scheduler": Scheduler.NQ,
            "second": 1,
            "rule": "nq never lets one wait while a server is idle, however small",
        },
        {"scheduler": Scheduler.SED, "second": 2, "rule": "for sed, 2/10 is a shorter delay than 1/1"},
    ],
)
def idle_first(bench: Bench, scheduler: Scheduler, second: int, rule: str) -> None:
    rig = Rig(bench, scheduler, (1, 10))
    places = rig.open("the first two", rig.flows(2))
    must(places == [2, second], f"the first two connections went to {places}, not to [2, {second}]")
    rig.open("ten more", rig.flows(10))


# -- failover and overflow -------------------------------------------------------------------------


@check(
    "scheduler:fo:order",
    "fo uses the highest weight, of equals the last added; the next when that is quiescent, full or gone; the"
    " first when back",
    tags=("fo", "change"),
)
def failover(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.FO, (30, 20, 20, 10))
    stages = [rig.open("all there", rig.flows(3))]
    for what, changes in (
        ("the first quiescent", [Change("edit", 1, 0)]),
        ("the second of equals quiescent", [Change("edit", 3, 0)]),
        ("the third gone", [Change("remove", 2)]),
        ("the first back with a threshold of 2", [Change("edit", 1, 30, 2)]),
        ("the first without threshold", [Change("edit", 1, 30)]),
    ):
        rig.change(*changes)
        stages.append(rig.open(what, rig.flows(3)))
    # Server 1 is back with three connections and a threshold of 2: early kernels see that with its
    # next one, see threshold:edit.
    full = [4, 4, 4] if rig.model.ways.edits_count else [1, 4, 4]
    wanted = [[1, 1, 1], [3, 3, 3], [2, 2, 2], [4, 4, 4], full, [1, 1, 1]]
    must(stages == wanted, f"the stages went to {stages}, not to {wanted}")


@check(
    "scheduler:ovf:order",
    "ovf gives a server one more than its weight, then uses the next; a closed connection makes room; with no"
    " room it refuses",
    tags=("ovf", "connections"),
)
def overflow(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.OVF, (3, 2))
    flows = rig.flows(8)
    places = rig.open("eight connections", flows)
    must(
        places == [1, 1, 1, 1, 2, 2, 2, None],
        f"the connections went to {places}, not to four, three and a refusal",
    )
    rig.play("one ends at each", [Step("close", flows[0]), Step("close", flows[4])])
    again = rig.open("three more", rig.flows(3))
    must(again == [1, 2, None], f"three more went to {again}, not to each server and a refusal")


# -- chance ----------------------------------------------------------------------------------------


@check(
    "scheduler:twos:{protocol}",
    "twos gives a new connection to the less loaded of two drawn by weight, never to weight 0, and every"
    " server gets some",
    tags=("twos", "distribution", "{protocol}"),
    each=[{"protocol": Protocol.TCP}, {"protocol": Protocol.UDP}],
)
def twos(bench: Bench, protocol: Protocol) -> None:
    rig = Rig(bench, Scheduler.TWOS, (1, 0, 2), protocol=protocol)
    chosen = rig.open("twos", rig.flows(64))
    must(set(chosen) == {1, 3}, f"servers {sorted(map(str, set(chosen)))} got connections, not 1 and 3")
    must(
        chosen.count(3) > chosen.count(1),
        f"weight 2 got {chosen.count(3)}, weight 1 got {chosen.count(1)} of 64",
    )


@check(
    "scheduler:twos:weight-0",
    "twos refuses with port unreachable when all weights are 0 and gives everything to the only server that"
    " has one",
    tags=("twos", "weight-0"),
)
def twos_alone(bench: Bench) -> None:
    rig = Rig(bench, Scheduler.TWOS, (0, 0))
    must(rig.open("all weights 0", rig.flows(2)) == [None, None], "the model itself serves somebody")
    rig.change(Change("edit", 1, 1))
    must(
        rig.open("one weight", rig.flows(8)) == [1] * 8,
        "the only server with a weight did not get everything",
    )
