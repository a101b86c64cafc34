"""# The service that wanders

Direct routing, set up by the book: the director rewrites only the MAC address of each frame, and
the servers have the virtual address on `lo`, so that they take such packets and answer the clients
straight. Everybody is in one network.

```
    c1 .101              network 10.0.0.0/24
     │
─────┴───┬─────────┬─────────┬─────
        lvs .1    rs1 .11   rs2 .12
 VIP 10.0.0.10    VIP on lo  VIP on lo
```

It works, in a way. Some clients are always served by the same server, and round robin does not seem
to exist for them; a few minutes later it is other clients. The director counts hardly any
connection to port 80 (`ipvsadm -L -n --stats`; its other services do not matter here). When one of
the servers is switched off, some clients lose the service although the director has long taken that
server out.

**Goal:** all requests to 10.0.0.10 port 80 go through the director, which shares them out between
rs1 and rs2, by direct routing.

**How to look.** On the client (`lvslab train shell client`):

- `curl http://10.0.0.10/` a few times, then `ip neigh show 10.0.0.10`: whose MAC address is it?
  (`ip link` on each node shows its own.)
- `busybox arping -b -c 2 -I c1-eth0 10.0.0.10` asks the network aloud: who has 10.0.0.10? Count who
  answers.
- `ip neigh flush all` makes the client forget, so that it asks again

When the director has its clients back: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel
from lvslab.training.probes import must_answer_arp_alone


@exercise(
    group="repair",
    number=4,
    minutes=15,
    mode="dr",
    lab={"without": ["arp"]},
    fails="who answers ARP",
    fault="arp-flux",
    hints=[
        (
            "Three machines have 10.0.0.10, and three answer the question who has it. A client believes"
            " whichever answer comes first."
        ),
        (
            "Linux answers ARP requests for any of its own addresses, whichever interface has it, so also for"
            " one on `lo`. The director shall answer; the servers shall keep quiet about this address, and"
            " still have it."
        ),
        (
            "Two kernel parameters, on the servers: `arp_ignore` decides which requests are answered,"
            " `arp_announce` which address a server puts into its own requests"
            " (`Documentation/networking/ip-sysctl.rst`). Both are needed."
        ),
        (
            "On rs1 and on rs2: `sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2`;"
            " then `ip neigh flush all` on the client."
        ),
    ],
    solution={
        "rs1": "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
        "rs2": "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
        "client": "ip neigh flush all",
    },
)
def check(exam: Exam) -> None:
    must_answer_arp_alone(exam)
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
