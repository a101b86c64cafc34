"""# Counted in, none out

The balancer was moved to a new machine. Its table of virtual services was restored from the old
one, all addresses are right, and yet:

```
$ curl -m 3 http://10.0.0.10/
curl: (28) Connection timed out after 3001 milliseconds
```

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director, LVS-NAT
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   real servers, default route via 10.0.1.1
```

**Goal:** clients of 10.0.0.10 port 80 are served by rs1 and rs2, by NAT as before: the servers go
on seeing the clients' own addresses.

**How to look.** Ask from the client (`lvslab train shell client`), then on the director
(`lvslab train shell director`):

- `ipvsadm -L -n --stats` counts what went in (to the servers) and out (back to the clients); the
  numbers follow within two seconds. (The services on UDP 5300 and TCP 5201 belong to others, who
  suffer alike.)
- `ipvsadm -L -n -c` shows in which state each connection hangs
- `tcpdump -n -i lvs-eth1` shows what happens on the servers' side. Who spoke last, and what should
  have come next?

When clients are served again: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel


@exercise(
    group="repair",
    number=1,
    minutes=10,
    mode="nat",
    lab={"without": ["ip-forward"]},
    fails="clients are served",
    fault="ip-forward-off",
    hints=[
        (
            "Connections are counted, and they stay in SYN_RECV: the director has passed the first packet on"
            " and waits. Did the server answer?"
        ),
        (
            "On the director `tcpdump -n -i lvs-eth1` shows the servers' answers coming in, and `tcpdump -n"
            " -i lvs-eth0` none going out. Such an answer is addressed to the client: for the director's"
            " kernel it is a packet to be routed."
        ),
        (
            "A Linux machine routes only when it is told to: look at `sysctl net.ipv4.ip_forward` on the"
            " director."
        ),
        (
            "On the director: `sysctl -w net.ipv4.ip_forward=1` (and on a real machine a line in"
            " /etc/sysctl.d, or the next boot undoes it)."
        ),
    ],
    solution={"director": "sysctl -w net.ipv4.ip_forward=1"},
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
