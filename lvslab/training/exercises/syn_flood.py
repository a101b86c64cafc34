"""# SYN flood

Somebody sends SYNs to the shop, from addresses that do not exist. Nobody ever answers the servers'
SYN-ACKs, so each SYN leaves a half-open connection: an entry in the director's table for a minute,
and a place in the server's short queue. Who wants to buy does not get in.

```
    c1  10.0.0.101                            client, and the attacker if you like
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: LVS-NAT
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers: appliances, which cannot be changed
```

**What users say.** "Connection timed out." And the servers have next to nothing to do.

**Look.** Attack it yourself, on the client (`lvslab train shell client`), and stop it with Ctrl-C:

    hping3 -q -S -p 80 --rand-source -i u5000 10.0.0.10

Meanwhile, in a second shell on the client: `curl -m 3 http://10.0.0.10/`. On the director
(`lvslab train shell director`): `ipvsadm -L -n` (InActConn), `ipvsadm -L -n -c | grep -c SYN_RECV`.
On rs1 (`lvslab train shell rs1`): `ss -t -n state syn-recv`,
`nstat -az | grep -E 'ListenDrops|ReqQFull'`.

**Goal.** While a flood of some hundred SYNs a second goes on, clients are served, and the flood
leaves no trace in the director's table of connections; nor does one of SYN-ACKs, which answer
nothing that anybody asked. The servers stay as they are (their queue
has 16 places, and they know no SYN cookies). The check makes a flood of its own; it is over when
the check is.

`lvslab train check` judges; `lvslab train hint` helps.
"""

from collections.abc import Sequence

from lvslab.ipvs.listings import Connection
from lvslab.kernels.needs import Need
from lvslab.modes.base import Role
from lvslab.runs.words import plural
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.nodes import examiner
from lvslab.training.programs import LEGACY_IPTABLES, sysctls

_RATE, _REQUESTS, _FRESH = 300.0, 4, 3
"""SYNs a second; requests during the flood; seconds for which an entry counts as the flood's."""

_LIVES = {"SYN_RECV": 60, "CLOSE": 10}
"""Seconds that an entry lives of which nothing more is heard, and one to which the server answered
with a RST, as it does to a SYN-ACK (tcp_timeouts in net/netfilter/ipvs/ip_vs_proto_tcp.c).
"""

# A server that is easily flooded: no cookies, a short queue, no favours for known clients; a
# half-open connection ends after 3 seconds. The receive buffer is one for which Linux announces the
# window scale 7, as for the mode SYNPROXY.
_APPLIANCE = sysctls(
    {
        "net.ipv4.tcp_syncookies": 0,
        "net.ipv4.tcp_max_syn_backlog": 16,
        "net.ipv4.tcp_no_metrics_save": 1,
        "net.ipv4.tcp_synack_retries": 1,
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
    }
)


@exercise(
    group="repair",
    number=24,
    minutes=30,
    mode="nat",
    lab={"more_needs": (Need.SYNPROXY,)},
    prepare={
        "rs1": _APPLIANCE,
        "rs2": _APPLIANCE,
        # The way to the rest of the world, where SYN-ACKs get lost.
        "director": LEGACY_IPTABLES + "ip route add default via 10.0.0.101\n",
    },
    hints=[
        (
            "The director must not believe in a client before it has proved that it is there. TCP has a way"
            " to ask for that proof without remembering anything: SYN cookies. A cookie can also be given by"
            " somebody in front of the server."
        ),
        (
            "That is netfilter's target SYNPROXY, see iptables-extensions(8). (`sysctl"
            " net.ipv4.vs.drop_entry=3` softens the flood for the director's table a little, but it throws"
            " away the beginnings of honest connections just the same.)"
        ),
        (
            "Three parts. (1) Parameters: `net.ipv4.vs.conntrack=1`, `net.ipv4.tcp_syncookies=1`,"
            " `net.ipv4.tcp_timestamps=1`, `net.netfilter.nf_conntrack_tcp_loose=0`. (2) SYNs to the service"
            " are not tracked: table raw, `-j CT --notrack`. (3) In INPUT, what is INVALID or UNTRACKED goes"
            " to SYNPROXY; what is INVALID still after that is dropped."
        ),
        (
            "The rules: `iptables -t raw -A PREROUTING -d 10.0.0.10 -p tcp --dport 80 --syn -j CT --notrack`,"
            " `iptables -A INPUT -d 10.0.0.10 -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j"
            " SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460`, `iptables -A INPUT -d 10.0.0.10 -p tcp"
            " -m state --state INVALID -j DROP`"
        ),
    ],
    solution={
        "director": (
            """\
sysctl -w net.ipv4.vs.conntrack=1
sysctl -w net.ipv4.tcp_syncookies=1
sysctl -w net.ipv4.tcp_timestamps=1
sysctl -w net.netfilter.nf_conntrack_tcp_loose=0
iptables -t raw -A PREROUTING -d 10.0.0.10 -p tcp --dport 80 --syn -j CT --notrack
iptables -A INPUT -d 10.0.0.10 -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460
iptables -A INPUT -d 10.0.0.10 -p tcp -m state --state INVALID -j DROP
"""  # noqa: E501
        )
    },
    fails="clients get in",
    fault="syn-flood",
)
def check(exam: Exam) -> None:
    from lvslab.ipvs.ipvsadm import Ipvsadm
    from lvslab.traffic.flood import syn_flood

    exam.must(
        "in peace",
        exam.wait_until(lambda: exam.get(1)[0].error is None, 5.0),
        f"without a flood, {exam.vip}:80 answers",
        f"{exam.vip}:80 does not even answer without a flood of the examiner's",
    )
    exam.disturb()
    served = 0
    with syn_flood(exam.lab, examiner(exam.plan).name, _RATE, 30.0):
        exam.wait_until(lambda: False, 1.0)  # until a queue that can be filled is full
        for _ in range(_REQUESTS):
            if exam.get(1, timeout=1.5)[0].error:
                break
            served += 1
        entries = Ipvsadm(exam.node("director")).list_connections()
    exam.must(
        "clients get in",
        served == _REQUESTS,
        f"during a flood of {_RATE:g} SYNs a second, {served} of {_REQUESTS} requests were answered",
        f"during a flood of {_RATE:g} SYNs a second, request {served + 1} got no answer",
    )
    _must_leave_no_trace(exam, "no trace", "half-open connection", entries)
    with syn_flood(exam.lab, examiner(exam.plan).name, _RATE, 10.0, acknowledging=True):
        exam.wait_until(lambda: False, 1.0)
        entries = Ipvsadm(exam.node("director")).list_connections()
    _must_leave_no_trace(exam, "no trace of SYN-ACKs", "connection that a SYN-ACK made", entries)
    servers = [each.name for each in exam.plan.of_role(Role.REAL_SERVER)]
    changed = [
        name for name in servers if exam.run(name, "cat /proc/sys/net/ipv4/tcp_syncookies").out.strip() != "0"
    ]
    exam.must(
        "servers as they were",
        not changed,
        "nobody has changed the servers",
        f"{', '.join(changed)} uses SYN cookies now; an appliance cannot be changed",
    )


def _must_leave_no_trace(exam: Exam, name: str, noun: str, entries: Sequence[Connection]) -> None:
    young = sum(each.expires > _LIVES[each.state] - _FRESH for each in entries if each.state in _LIVES)
    said = f"the director's table has {plural(young, noun, noun.replace('connection', 'connections'))}"
    exam.must(name, young < _RATE / 10, said, f"{said} of the last {_FRESH} seconds")
