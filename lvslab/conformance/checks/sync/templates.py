"""When the director as master tells of a persistent client's template, and how often."""

from __future__ import annotations

import time
from typing import Any

from scapy.packet import Packet

from lvslab.conformance.check import check
from lvslab.conformance.packets import must
from lvslab.conformance.syncing import FLAGS, SPORT, Master, entries_about, entry, must_say, segments, udp
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol
from lvslab.traffic.layers.sync.words import ConnFlag


def template(client: str, *, assured: bool, number: int = 1, **fields: Any) -> Packet:
    """The entry of a persistent client's template, with a timeout of 300 seconds, in dr."""
    flags = FLAGS["dr"] | ConnFlag.INACTIVE | ConnFlag.TEMPLATE
    return entry(
        "dr",
        client,
        **{
            "flags": int(flags),
            "state": int(assured),
            "cport": 0,
            "timeout": 300,
            "number": number,
            **fields,
        },
    )


@check(
    "sync:template:fields",
    "a persistent client's template is told behind its connection: port 0, flag TEMPLATE, ASSURED, the"
    " persistence timeout",
    tags=("persistence",),
)
def template_fields(bench: Bench) -> None:
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    master.client(*segments(4, client, "S", "A"))
    master.messages()
    master.client(segments(4, client, "A")[0])
    expected = [entry("dr", client), template(client, assured=True)]
    must_say(master.messages(), expected, "the third packet of a persistent client")


@check(
    "sync:template:every-packet",
    "the template itself is told with every packet of its connections, the SYN included: thresholds do not"
    " hold for templates",
    tags=("persistence",),
)
def template_every_packet(bench: Bench) -> None:
    # ip_vs_sync_conn goes on to the controlling template also when the connection itself is not to
    # be told (label "control"), and ip_vs_sync_conn_needed passes over the period for templates
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    syn, ack = segments(4, client, "S", "A")
    master.client(syn)
    must_say(master.messages(), [template(client, assured=False)], "the SYN of a persistent client")
    master.client(ack)
    must_say(master.messages(), [template(client, assured=True)], "its ACK")


@check(
    "sync:template:version-0",
    "in version 0 the template is told only together with its connection",
    tags=("persistence",),
)
def template_v0(bench: Bench) -> None:
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench, version=0)
    client = bench.client()
    syn, ack, third = segments(4, client, "S", "A", "A")
    master.client(syn, ack)
    must_say(master.messages(), [], "two packets of a persistent client", version=0)
    master.client(third)
    flags = int(FLAGS["dr"] | ConnFlag.INACTIVE | ConnFlag.TEMPLATE)
    expected = [entry("dr", client, sync=0), entry("dr", client, sync=0, flags=flags, state=1, cport=0)]
    must_say(master.messages(), expected, "the third packet", version=0)


@check(
    "sync:template:refresh-period",
    "sync_refresh_period reduces the rate of templates: one in the period, not one with every packet",
    tags=("persistence", "sysctl"),
)
def template_refresh(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.sync_refresh_period", 10)
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    master.client(*segments(4, client, "S", "S", "S", "S"))
    must_say(master.messages(), [template(client, assured=False)], "four SYNs of a persistent client")


@check(
    "sync:persist-mode:{value}",
    "with sync_persist_mode {value} connections of a persistent client are {word}, its template is",
    tags=("persistence", "sysctl"),
    each=[{"value": 0, "word": "told as well"}, {"value": 1, "word": "not told"}],
)
def persist_mode(bench: Bench, value: int, word: str) -> None:
    bench.sysctl("net.ipv4.vs.sync_persist_mode", value)
    bench.service("dr", weights=(1,), persistence_timeout=300)
    master = Master(bench)
    client = bench.client()
    master.client(*segments(4, client, "S", "A", "A"))
    seen = [each.cport for each in entries_about(master.messages(), client)]
    must(seen.count(0) == 3, f"three packets told the template {seen.count(0)} times, expected 3")
    wanted = 1 - value
    must(
        seen.count(SPORT) == wanted,
        f"the connection itself was told {seen.count(SPORT)} times, expected {wanted}",
    )


@check(
    "sync:refresh-period:{value}",
    "with sync_refresh_period {value} sync tells {times} of four datagrams that come at once",
    tags=("sysctl",),
    each=[{"value": 0, "times": 4}, {"value": 10, "times": 1}],
)
def refresh_period(bench: Bench, value: int, times: int) -> None:
    bench.sysctl("net.ipv4.vs.sync_refresh_period", value)
    bench.service("dr", protocol=Protocol.UDP, weights=(1,))
    master = Master(bench, threshold=(0, 1))
    client = bench.client()
    master.client(*[udp(4, client)] * 4)
    found = len(entries_about(master.messages(), client))
    must(found == times, f"{found} of four datagrams were told, expected {times}")


@check(
    "sync:refresh-period:retries",
    "with sync_retries 1 a connection is told once more an eighth of sync_refresh_period later, and then not"
    " until the period is over",
    tags=("sysctl",),
    spoilt_by=0.5,
)
def refresh_retries(bench: Bench) -> None:
    bench.sysctl("net.ipv4.vs.sync_refresh_period", 8)
    bench.sysctl("net.ipv4.vs.sync_retries", 1)
    bench.service("dr", protocol=Protocol.UDP, weights=(1,))
    master = Master(bench, threshold=(0, 1))
    client = bench.client()
    master.client(*[udp(4, client)] * 3)
    began = time.monotonic()
    must(
        len(entries_about(master.messages(), client)) == 1,
        "three datagrams at once were not told exactly once",
    )
    again = 0.0
    while not again and time.monotonic() < began + 3:
        master.client(udp(4, client))
        if entries_about(master.messages(), client):
            again = time.monotonic() - began
    must(
        0.8 < again < 2.0,
        f"told again after {again:.2f} s (0: not at all), expected after 1 s, an eighth of 8 s",
    )
    master.client(*[udp(4, client)] * 3)
    must(not entries_about(master.messages(), client), "told a third time, though sync_retries is 1")
