"""# More clients than ports

The servers of this service have no route to the clients, so the director translates both addresses
(FullNAT: LVS-NAT, and netfilter's SNAT for what IPVS balances). The servers only see the director's
local address, 10.0.1.201. It went well for months. Then came the campaign.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10                   director
     │  10.0.1.1, local address 10.0.1.201    (10.0.1.202 to .209 are free for you)
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers, no route to 10.0.0.0/24
```

A connection of the director to a server needs a port of the local address. The translation takes
40000 to 40031 here: 32 ports stand for the 64,000 that it would have at work. The ports of one
address cannot be increased: that many there are. (Ports of connections that have ended are free
again after one second here; at work it is two minutes.)

**What users say.** "In the evening, new users do not get in. Who is in, stays in." And the servers
are bored.

**Look.** The client (`lvslab train shell client`) can play many: it has the addresses 10.0.0.111 to
.119 too. Open many connections at once,
`for i in $(seq 90); do nc -d -w 30 -s 10.0.0.11$((i % 9 + 1)) 10.0.0.10 80 & done`, and meanwhile
try `curl -m 2 http://10.0.0.10/`. On the director (`lvslab train shell director`): `ipvsadm -L -n`
shows the connections that stand, `iptables -t nat -S POSTROUTING` the translation, and
`cat /proc/net/stat/nf_conntrack` counts `insert_failed` and `drop` (hexadecimal).
`tcpdump -n -i lvs-eth1 tcp` shows what reaches the servers.

**Goal.** 100 connections of many clients at the same time, balanced over both servers.

`lvslab train check` judges; `lvslab train hint` helps.
"""

from collections import Counter

from lvslab.runs.words import plural
from lvslab.training.clients import Broken, Client, many, take_addresses
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import LEGACY_IPTABLES, sysctls

_COUNT = 100

_RULE = "-m ipvs --vproto tcp --vaddr 10.0.0.10 --vport 80 -j SNAT --to-source"

_SHORT_LIVED = ("time_wait", "close", "fin_wait", "last_ack", "close_wait", "syn_sent")
"""States of a connection that is over, or does not come about."""


@exercise(
    group="repair",
    number=26,
    minutes=20,
    mode="fullnat",
    lab={"without": ("snat", "local-addresses")},
    prepare={
        "client": (
            "for host in 1 2 3 4 5 6 7 8 9; do echo address add 10.0.0.11$host/24 dev c1-eth0; done | ip"
            " -batch -\n"
        ),
        "director": LEGACY_IPTABLES
        + f"""\
ip address add 10.0.1.201/24 dev lvs-eth1
iptables -t nat -A POSTROUTING -p tcp {_RULE} 10.0.1.201:40000-40031
"""
        + sysctls({f"net.netfilter.nf_conntrack_tcp_timeout_{state}": 1 for state in _SHORT_LIVED}),
    },
    hints=[
        (
            "Each connection to one server needs a port of its own: 32 ports, two servers, so 64 connections;"
            " the next one finds no free port, and its SYN is dropped on the director."
        ),
        (
            "If an address has no more ports, take more addresses. The director must have them on lvs-eth1,"
            " and the translation must use them."
        ),
        (
            "`--to-source` takes a range: 10.0.1.201-10.0.1.202:40000-40031. A rule is replaced with"
            " `iptables -t nat -R POSTROUTING 1 …`. netfilter chooses the address by a hash of client and"
            " server, so take more addresses than a calculation demands."
        ),
        (
            "On the director: `ip address add 10.0.1.202/24 dev lvs-eth1`, the same for .203 and .204; then "
            f"`iptables -t nat -R POSTROUTING 1 -p tcp {_RULE} 10.0.1.201-10.0.1.204:40000-40031`"
        ),
    ],
    solution={
        "director": (
            f"""\
for host in 202 203 204; do ip address add 10.0.1.$host/24 dev lvs-eth1; done
iptables -t nat -R POSTROUTING 1 -p tcp {_RULE} 10.0.1.201-10.0.1.204:40000-40031
"""
        )
    },
    fails="all get in",
    fault="local-ports-exhausted",
)
def check(exam: Exam) -> None:
    # connections of the last try may still end
    exam.wait_until(lambda: exam.get(1)[0].error is None, 2.0)
    servers: Counter[str] = Counter()
    silent = 0
    sources = take_addresses(exam, _COUNT // 4)
    with many(exam, _COUNT, sources, timeout=1.5) as (clients, why):
        exam.must(
            "the service answers",
            bool(clients),
            f"{exam.vip}:80 takes connections",
            f"{exam.vip}:80 takes no connection: {why}",
        )
        exam.must(
            "all get in",
            len(clients) == _COUNT,
            f"{_COUNT} connections stood at the same time",
            f"after {plural(len(clients), 'connection')} the next one fails: {why}",
        )
        for each in clients:
            server = _ask(each)
            servers[server] += bool(server)
            silent += not server
    exam.must(
        "all are served",
        not silent,
        f"and all {_COUNT} were answered",
        f"{silent} of {_COUNT} connections got no answer",
    )
    exam.must(
        "who serves",
        set(servers) == {"rs1", "rs2"},
        "by " + ", ".join(f"{name} ({count})" for name, count in sorted(servers.items())),
        f"only {', '.join(sorted(servers))} served",
    )


def _ask(client: Client) -> str:
    """The server that answered, or ""."""
    try:
        return client.get().server
    except Broken:
        return ""
