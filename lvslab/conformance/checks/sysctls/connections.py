"""Connections that outlive what they were made for: conn_reuse_mode, expire_nodest_conn."""

from __future__ import annotations

from dataclasses import replace

from lvslab.conformance.check import check
from lvslab.conformance.entries import (
    awaited,
    chosen,
    entries,
    entry,
    must_choose,
    must_reset,
    tcp,
    tcp_reply,
)
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench


@check(
    "sysctl:conn_reuse_mode:{value}:{state}",
    "with conn_reuse_mode={value} a SYN that reuses a connection in {state} {does}",
    each=[
        {
            "value": value,
            "state": state,
            "does": "is scheduled anew" if again else "goes to its old real server",
        }
        for value, state, again in (
            (0, "TIME_WAIT", False),
            (0, "CLOSE", False),
            (0, "FIN_WAIT", False),
            (1, "TIME_WAIT", True),
            (1, "CLOSE", True),
            (1, "FIN_WAIT", False),
            (1, "ESTABLISHED", False),
            (1, "SYN_RECV", False),
            (2, "TIME_WAIT", True),
            (2, "CLOSE", True),
            (2, "FIN_WAIT", True),
            (2, "ESTABLISHED", False),
        )
    ],
)
def conn_reuse(bench: Bench, value: int, state: str, does: str) -> None:
    # is_new_conn_expected: TIME_WAIT and CLOSE; FIN_WAIT with bit 1 and only where the reply is not
    # seen, so DR it is. Value 2 alone suffices for TIME_WAIT as well: any value but 0 does.
    bench.sysctl("net.ipv4.vs.conn_reuse_mode", value)
    port, client = bench.port(), bench.client()
    bench.service("dr", port=port)
    story = {
        "SYN_RECV": "S",
        "ESTABLISHED": "S A",
        "FIN_WAIT": "S A FA",
        "TIME_WAIT": "S FA",
        "CLOSE": "S A R",
    }[state].split()
    start = chosen(bench, *(tcp(client, port, flags) for flags in story))[0]
    must(entry(bench, client, "to start from").state == state, f"the connection is not in {state}")
    must_choose(
        chosen(bench, tcp(client, port, seq=777777)),
        [3 - start if "anew" in does else start],
        f"a SYN in {state}",
    )


@check(
    "sysctl:conn_reuse_mode:nat-fin-wait",
    "with conn_reuse_mode=2 a NAT connection in FIN_WAIT is not scheduled anew: the director has seen the"
    " server's side of it",
)
def conn_reuse_nat(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.conn_reuse_mode", 2)
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    start = chosen(bench, tcp(client, port))[0]
    bench.from_server(start, tcp_reply(start, client))
    chosen(bench, tcp(client, port, "A"))
    bench.from_server(start, tcp_reply(start, client, "FA"))
    must(entry(bench, client, "to start from").state == "FIN_WAIT", "the connection is not in FIN_WAIT")
    must_choose(chosen(bench, tcp(client, port, seq=777777)), [start], "a SYN in FIN_WAIT")


def _tracked(bench: Bench, client: str) -> list[str]:
    """TCP states of the client's connections in /proc/net/nf_conntrack."""
    lines = bench.run(f"grep {client} /proc/net/nf_conntrack || true").splitlines()
    return [line.split()[5] for line in lines if " tcp " in line]


def _track(bench: Bench) -> None:
    """Switch connection tracking on, in IPVS and in netfilter, whose hooks are there only while
    something asks for a state (since 4.10): a rule that matches nothing here.
    """
    bench.rule("-A FORWARD -d 192.0.2.1 -m conntrack --ctstate NEW -j DROP")
    bench.sysctl("net.ipv4.vs.conntrack", 1)


@check(
    "sysctl:conn_reuse_mode:conntrack:{state}",
    "with conntrack=1 and conn_reuse_mode=1 a SYN that reuses a port {does}",
    tags=("conntrack",),
    each=[
        {
            "state": "TIME_WAIT",
            "does": "in TIME_WAIT for IPVS and for conntrack is scheduled anew at once: conntrack begins a"
            " new entry"
            " (since Linux 5.9)",
        },
        {
            "state": "ESTABLISHED",
            "does": "that is closed for IPVS and still ESTABLISHED for conntrack is dropped, both entries"
            " end, and the"
            " SYN sent again is scheduled anew",
        },
    ],
)
def conn_reuse_conntrack(bench: Bench, state: str, does: str) -> None:
    # ip_vs_in: ip_vs_conn_uses_old_conntrack ("ipvs: allow connection reuse for unconfirmed
    # conntrack", 5.9): a SYN whose conntrack entry is an old, confirmed one cannot go to another
    # real server.
    _track(bench)
    port, client = bench.port(), bench.client()
    bench.service(port=port)
    start = chosen(bench, tcp(client, port))[0]
    bench.from_server(start, tcp_reply(start, client, "SA", seq=5000))
    chosen(bench, tcp(client, port, "A", seq=1001, ack=5001))
    if state == "TIME_WAIT":
        chosen(bench, tcp(client, port, "FA", seq=1001, ack=5001))
        fin = tcp_reply(start, client, "FA", seq=5001)
        fin["TCP"].ack = 1002
        bench.from_server(start, fin)
        chosen(bench, tcp(client, port, "A", seq=1002, ack=5002))
    else:
        # Outside of the window: conntrack passes it on without obeying it, IPVS does not look.
        bench.from_client(tcp(client, port, "R", seq=3_000_000_000))
    wanted = "TIME_WAIT" if state == "TIME_WAIT" else "CLOSE"
    must(entry(bench, client, "to start from").state == wanted, f"the connection is not in {wanted}")
    tracked = _tracked(bench, client)
    must(tracked == [state], f"conntrack's entry is not in {state}", f"seen: {tracked}")
    again = tcp(client, port, seq=900_000_000)
    if state == "ESTABLISHED":
        bench.from_client(again).nothing("the SYN while conntrack has the old entry")
        must(_tracked(bench, client) != ["ESTABLISHED"], "conntrack keeps its entry")
    must_choose(chosen(bench, again), [3 - start], "the SYN that reuses the port")


@check(
    "sysctl:expire_nodest_conn:off",
    "with expire_nodest_conn=0 packets of a connection whose real server was removed are dropped without a"
    " word, and its entry stays",
)
def nodest_off(bench: Bench) -> None:
    client, port, start = _orphan(bench)
    bench.from_client(tcp(client, port, "A")).nothing("a segment of the orphaned connection")
    bench.from_client(tcp(client, port)).nothing("a SYN of the same client port")
    entry(bench, client, "afterwards")
    must_choose(chosen(bench, tcp(client, port, sport=40001)), [3 - start], "another port of the client")


@check(
    "sysctl:expire_nodest_conn:on",
    "with expire_nodest_conn=1 the entries of a removed real server go by themselves, the client's next"
    " segment gets a RST and its next SYN another real server",
    tags=("timer",),
)
def nodest_on(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
    client, port, start = _orphan(bench)
    must_reset(bench.from_client(tcp(client, port, "A")), "a segment of the orphaned connection")
    must(awaited(lambda: not entries(bench, client)), "the entry of the removed real server has not gone")
    must_choose(chosen(bench, tcp(client, port)), [3 - start], "a SYN of the same client port")


@check(
    "sysctl:expire_nodest_conn:syn",
    "with expire_nodest_conn=1 a SYN is the first packet after the real server's removal: it is scheduled to"
    " another one at once",
)
def nodest_syn(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.expire_nodest_conn", 1)
    client, port, start = _orphan(bench)
    must_choose(chosen(bench, tcp(client, port)), [3 - start], "the SYN")


@check(
    "sysctl:expire_nodest_conn:weight-0:{mode}",
    "a SYN that reuses the port of an ESTABLISHED connection {does} when its real server has weight 0 and"
    " expire_nodest_conn={value}",
    each=[
        {"mode": "off", "value": 0, "does": "stays with its real server"},
        {"mode": "on", "value": 1, "does": "is scheduled anew"},
    ],
)
def nodest_weight(bench: Bench, mode: str, value: int, does: str) -> None:
    bench.sysctl("net.ipv4.vs.expire_nodest_conn", value)
    port, client = bench.port(), bench.client()
    service = bench.service(port=port)
    start = chosen(bench, tcp(client, port), tcp(client, port, "A"))[0]
    bench.ipvsadm.edit_server(service, replace(service.real_servers[start - 1], weight=0))
    must_choose(chosen(bench, tcp(client, port, "A")), [start], "a segment of the connection")
    must_choose(chosen(bench, tcp(client, port, seq=777777)), [3 - start if value else start], "the SYN")


def _orphan(bench: Bench) -> tuple[str, int, int]:
    """A connection whose real server has been removed: its client, its port, the number of the
    server.
    """
    port, client = bench.port(), bench.client()
    service = bench.service(port=port)
    start = chosen(bench, tcp(client, port), tcp(client, port, "A"))[0]
    bench.ipvsadm.delete_server(service, service.real_servers[start - 1])
    return client, port, start
