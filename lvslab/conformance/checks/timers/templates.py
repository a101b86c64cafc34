"""The lifetimes of persistent clients' templates.

Facts: ip_vs_sched_persist in ip_vs_core.c arms a template's timer with the service's timeout at
each new connection of the client; ip_vs_conn_expire in ip_vs_conn.c gives a template that still
controls connections 60 s more, which are its lifetime from then on; ip_vs_check_template there
leaves the timer of a template alone that counts no longer.
"""

from __future__ import annotations

from dataclasses import replace

from lvslab.conformance.check import check
from lvslab.conformance.checks.timers.ends import (
    connection_of,
    look,
    must_go,
    must_last,
    must_live,
    template_of,
)
from lvslab.conformance.entries import chosen, must_choose, tcp, timeouts, udp
from lvslab.conformance.jiffies import goes_off
from lvslab.conformance.packets import must
from lvslab.conformance.virtual import HZ, VirtualBench
from lvslab.ipvs.service import Protocol

_MORE = 60
"""Seconds that a template gets whose connections outlive it."""

_INVALID_PORT = 65535


@check(
    "timers:template:{seconds}",
    "a template lives {seconds} s after the client's last new connection, to the jiffy; the client is then"
    " scheduled anew",
    tags=("persistence",),
    each=[{"seconds": 2}, {"seconds": 300}, {"seconds": 1800}],
)
def lifetime(bench: VirtualBench, seconds: int) -> None:
    # Its connections must be gone before the template, which waits for them.
    timeouts(bench, udp_seconds=1)
    port, client = bench.port(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, persistence_timeout=seconds)
    bench.next_jiffy()
    start = chosen(bench, udp(client, port))[0]
    bench.go_to(must_last(bench, template_of(client), "NONE", seconds) - 1)
    must_choose(chosen(bench, udp(client, port, sport=40001)), [start], "a connection in its last jiffy")
    must_live(bench, template_of(client), "NONE", seconds)
    must_choose(chosen(bench, udp(client, port, sport=40002)), [3 - start], "a connection after its end")


@check(
    "timers:template:waits",
    "a template whose lifetime passes while a connection of the client lives stays, for 60 s more each time,"
    " and goes when that has passed without one",
    tags=("persistence",),
)
def waits(bench: VirtualBench) -> None:
    timeouts(bench, udp_seconds=160)
    port, client = bench.port(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, persistence_timeout=10)
    armed = bench.next_jiffy()
    chosen(bench, udp(client, port))
    end = must_last(bench, template_of(client), "NONE", 10)
    for _ in range(3):  # after 10, 70 and 130 s, and what the timer wheel adds
        bench.go_to(end - 1)
        entry = look(bench, template_of(client))
        must(entry is not None and entry.expires == 0, "the template was to be at its end", str(entry))
        bench.go_to(end)
        end = must_last(bench, template_of(client), "NONE", _MORE)
    must_go(bench, connection_of(client), goes_off(armed, 160 * HZ), "the connection")
    must_go(bench, template_of(client), end, "the template without a connection")


@check(
    "timers:template:kept",
    "a new connection while a template is prolonged goes to the template's server; the template's lifetime"
    " stays the 60 s that it was given, whatever the service's is",
    tags=("persistence",),
)
def kept(bench: VirtualBench) -> None:
    port, client = bench.port(), bench.client()
    bench.service(port=port, persistence_timeout=10)
    bench.next_jiffy()
    start = chosen(bench, tcp(client, port))[0]
    bench.go_to(must_last(bench, template_of(client), "NONE", 10))
    must_last(bench, template_of(client), "NONE", _MORE)
    bench.go_to(bench.jiffy + 10 * HZ)
    must_choose(chosen(bench, tcp(client, port, sport=40001)), [start], "the next connection")
    must_last(bench, template_of(client), "NONE", _MORE)


@check(
    "timers:template:quiescent:{mode}",
    "with expire_quiescent_template={value} a connection to a server of weight 0 {does}",
    tags=("persistence", "sysctl"),
    each=[
        {"mode": "off", "value": 0, "does": "stays with it, and starts the template's lifetime anew"},
        {
            "mode": "on",
            "value": 1,
            "does": "goes to another, with a new template, and the old one goes at its own time",
        },
    ],
)
def quiescent(bench: VirtualBench, mode: str, value: int, does: str) -> None:
    bench.sysctl("net.ipv4.vs.expire_quiescent_template", value)
    port, client = bench.port(), bench.client()
    service = bench.service(port=port, persistence_timeout=300)
    armed = bench.next_jiffy()
    start = chosen(bench, tcp(client, port))[0]
    old = must_last(bench, template_of(client), "NONE", 300)
    bench.ipvsadm.edit_server(service, replace(service.real_servers[start - 1], weight=0))
    bench.go_to(armed + 100 * HZ)
    must(look(bench, connection_of(client)) is None, "the first connection was to be gone by now")
    must_choose(
        chosen(bench, tcp(client, port, sport=40001)), [3 - start if value else start], "the next connection"
    )
    if value:
        new = must_last(bench, template_of(client, port), "NONE", 300)
        must_go(bench, template_of(client, _INVALID_PORT), old, "the template that counts no longer")
    else:
        new = must_last(bench, template_of(client), "NONE", 300)
    must_go(bench, template_of(client, port), new, "the template of the next connection")
