"""What an entry says: the state of UDP, and the endpoints of every mode."""

from __future__ import annotations

import time

from lvslab.conformance.addresses import NETS, SERVER_PORT
from lvslab.conformance.check import check
from lvslab.conformance.checks.states.stories import lives
from lvslab.conformance.entries import chosen, entry, tcp, udp, udp_reply
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import MODES_VERSIONS
from lvslab.ipvs.service import Protocol


@check(
    "states:udp:{mode}",
    "a UDP entry has the state UDP, after the first datagram and after the reply, and lives 300 s",
    tags=("udp", "{mode}"),
    each=[{"mode": "nat"}, {"mode": "dr"}],
)
def udp_state(bench: Bench, mode: str) -> None:
    since, port, client = time.monotonic(), bench.port(), bench.client()
    bench.service(mode, protocol=Protocol.UDP, port=port, weights=(1,))
    chosen(bench, udp(client, port))
    found = entry(bench, client, "after the first datagram")
    must(found.state == "UDP" and lives(found, 300, since), "state UDP and 300 s expected", f"seen: {found}")
    if mode == "nat":
        bench.from_server(1, udp_reply(1, client))
        found = entry(bench, client, "after the reply")
        must(
            found.state == "UDP" and lives(found, 300, since),
            "state UDP and 300 s expected",
            f"seen: {found}",
        )


@check(
    "states:entry:{mode}:ipv{version}",
    "an entry names the client, the virtual and the real server's address and port as the packets have them",
    tags=("{mode}", "ipv{version}"),
    each=MODES_VERSIONS,
)
def entry_fields(bench: Bench, mode: str, version: int) -> None:
    net, port, client = NETS[version], bench.port(), bench.client(version)
    bench.service(mode, port=port, version=version, weights=(0, 0, 1))
    chosen(bench, tcp(client, port, sport=12345))
    found = entry(bench, client, "after the SYN")
    seen = [(each.address, each.port) for each in (found.client, found.virtual, found.destination)]
    wanted = [(client, 12345), (net.vip, port), (net.server(3), SERVER_PORT if mode == "nat" else port)]
    must(
        found.protocol == "TCP" and seen == wanted,
        "the entry is not as expected",
        f"expected: TCP {wanted}",
        f"seen:     {found}",
    )
