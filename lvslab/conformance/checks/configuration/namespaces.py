"""Network namespaces of the director: each has a table of its own (struct netns_ipvs in ip_vs.h),
and what is in it goes with it (ip_vs_service_net_cleanup, ip_vs_conn_net_cleanup).
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.entries import awaited, chosen, entries, must_choose, udp
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import Protocol

_VIP, _SERVER, _PORT = "10.99.0.1", "10.99.0.2", 2000
"""On the loopback device of the namespace."""

_CONNECTIONS = 20
_INSIDE = f"""\
ip -batch - <<'LINES'
link set lo up
address add {_VIP}/32 dev lo
address add {_SERVER}/32 dev lo
LINES
ipvsadm -Ln | grep -c UDP
ipvsadm -R <<'RULES'
-A -u {_VIP}:{_PORT} -s rr -p 300
-a -u {_VIP}:{_PORT} -r {_SERVER}:{_PORT} -m
RULES
bash -c 'for number in {{1..{_CONNECTIONS}}}; do echo lvslab >/dev/udp/{_VIP}/{_PORT}; done' 2>/dev/null
ipvsadm -Lcn >/tmp/namespace
grep -c "^UDP .* NONE .* {_VIP}:{_PORT} *{_SERVER}" /tmp/namespace
grep -c "^UDP .* UDP .* {_VIP}:{_PORT} *{_SERVER}" /tmp/namespace
rm /tmp/namespace
"""
"""Prints how many services its table has at first, how many templates and connections there are in
the end.
"""


@check(
    "configuration:namespace:deleted",
    "a network namespace has a table of its own; deleted with a service, a template and"
    f" {_CONNECTIONS} connections it takes them along, and the director's own stay",
    tags=("netns", "udp"),
)
def deleted(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    bench.service(protocol=Protocol.UDP, port=port, weights=(1, 1))
    (server,) = chosen(bench, udp(client, port))

    def uses() -> int:
        return int(bench.run("cat /sys/module/ip_vs/refcnt"))

    before = uses()
    said = bench.run(f"unshare -n sh <<'INSIDE'\n{_INSIDE}INSIDE").split()
    must(
        said == ["0", "1", str(_CONNECTIONS)],
        f"in the namespace no service at first, a template and {_CONNECTIONS} connections: {said} seen",
    )
    # The namespace ended with its only process; the kernel removes it a little later.
    must(awaited(lambda: uses() == before), f"ip_vs is used {uses()} times, {before} before the namespace")
    foreign = entries(bench, _VIP)
    must(not foreign, "connections of the namespace are in the director's table", *map(str, foreign))
    must(len(entries(bench, client)) == 1, "the director's own connection is gone")
    must_choose(chosen(bench, udp(client, port)), [server], "its next datagram")
