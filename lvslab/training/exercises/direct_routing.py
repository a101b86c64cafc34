"""# Direct routing

With NAT every answer passes the director. Answers are the larger part of the traffic, and the
director soon has its hands full. In **direct routing** (LVS-DR) it sees only the requests: it
leaves the packet as it is, and puts it into a frame for the MAC address of a real server. The
server answers the client straight.

```
    c1 .101                                  network 10.0.0.0/24
     │
─────┴───┬─────────────┬─────────────┬─────
        lvs .1        rs1 .11       rs2 .12
 VIP 10.0.0.10        port 80       port 80
```

The packet still has 10.0.0.10 as its destination when it arrives at rs1. So a server must *have*
that address, or it throws the packet away; and it must keep that to itself, because all are in one
network, and whoever answers ARP requests for 10.0.0.10 gets the clients' packets.

**Build it.** The director has the address and an empty table. Shells:
`lvslab train shell director`, and the same with `rs1`, `rs2`, `client`.

1. *First* make the servers discreet. On rs1 and rs2: `sysctl -w net.ipv4.conf.all.arp_ignore=…` —
   answer ARP only for addresses of the interface on which the request came — and
   `sysctl -w net.ipv4.conf.all.arp_announce=…` — never name another interface's address in own
   requests. Values: `ip-sysctl` in the kernel's documentation, or the hints.
2. *Then* give them the virtual address, on `lo`, for itself alone:
   `ip address add 10.0.0.10/… dev lo`
3. On the director: the virtual service on 10.0.0.10 port 80 (round robin), both servers in it by
   direct routing (`-g`, "gatewaying"). Nobody rewrites ports here, so the servers' port is 80, too.

**Look at it.** `curl http://10.0.0.10/` on the client; each answer also shows which client the
server saw. On the director, `tcpdump -e -n -i lvs-eth0 tcp port 80` shows MAC addresses (`-e`):
each packet comes in, and goes out to another MAC, and no answer is ever seen.
`ipvsadm -L -n --stats` says the same: OutPkts is 0. On the client, `ip neigh show 10.0.0.10` must
show the director's MAC address.

When clients are served by both: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel
from lvslab.training.probes import must_answer_arp_alone

_SERVER = """\
sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip address add 10.0.0.10/32 dev lo
"""


@exercise(
    group="path",
    number=2,
    minutes=20,
    mode="dr",
    lab={"without": ["arp", "vip-on-lo"]},
    table=False,
    fails="clients are served",
    hints=[
        (
            "Three things: servers that keep quiet in ARP, servers that have the address, and a director that"
            " sends to them. Try after each one."
        ),
        (
            "arp_ignore=1: reply only if the address asked for is on the interface that the request came in"
            " by. arp_announce=2: always use the best local address of the outgoing interface. A /32 on `lo`"
            " adds the address and no network."
        ),
        (
            "If the client is served by one server only, it has learned that server's MAC address for"
            " 10.0.0.10: see `ip neigh`, and forget it with `ip neigh flush all`, after arp_ignore is set."
        ),
        (
            "On rs1 and rs2: `sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2`,"
            " then `ip address add 10.0.0.10/32 dev lo`. On the director: `ipvsadm -A -t 10.0.0.10:80 -s rr`,"
            " `ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.11:80 -g`; then 10.0.0.12."
        ),
    ],
    solution={
        "rs1": _SERVER,
        "rs2": _SERVER,
        "director": (
            """\
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.11:80 -g
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.12:80 -g
"""
        ),
    },
)
def check(exam: Exam) -> None:
    must_answer_arp_alone(exam)
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
