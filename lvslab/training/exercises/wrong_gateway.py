"""# Every second request hangs

A second web server, rs2, was moved here from another network and added to the table. Since then
every second request hangs:

```
$ curl -m 3 http://10.0.0.10/
rs1 10.0.0.101 40512
$ curl -m 3 http://10.0.0.10/
curl: (28) Connection timed out after 3001 milliseconds
```

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director, LVS-NAT
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   real servers
```

The colleague who moved it swears that rs2 works: on the director, `curl http://10.0.1.12:8080/`
answers at once. That is true.

**Goal:** both servers take part again, by NAT as before. To take rs2 out of the table would be no
repair.

**How to look.** `ipvsadm -L -n -c` on the director shows which connections hang, and in which
state. Then follow a packet: `tcpdump -n` on rs2 (`lvslab train shell rs2`) while the client asks.
Why can the director talk to rs2, and the client not?

When every request is answered: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel


@exercise(
    group="repair",
    number=2,
    minutes=10,
    mode="nat",
    prepare={"rs2": "ip route replace default via 10.0.1.254"},
    fails="clients are served",
    fault="wrong-gateway",
    hints=[
        (
            "The director is rs2's neighbour; the client is in another network. What does a host need to"
            " answer somebody in another network?"
        ),
        (
            "On rs2, run `tcpdump -n -i rs2-eth0` while the client asks: the request arrives. Whom does rs2"
            " look for by ARP before it answers?"
        ),
        (
            "In NAT every reply must pass the director, which puts the virtual address back in. Compare `ip"
            " route` on rs1 and on rs2."
        ),
        "On rs2: `ip route replace default via 10.0.1.1`.",
    ],
    solution={"rs2": "ip route replace default via 10.0.1.1"},
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
