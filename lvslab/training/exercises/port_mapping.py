"""# Port 80 outside, port 8080 inside

An application listens on port 8080 of two servers, and clients shall find it at 10.0.0.10 port 80.
The network is set up for direct routing: the servers have the virtual address on `lo` and answer
the clients straight. The colleague who built it typed, on the director:

```
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.11:8080 -g
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.12:8080 -g
```

There was no error message, and no client gets through:

```
$ curl http://10.0.0.10/
curl: (7) Failed to connect to 10.0.0.10 port 80 after 0 ms: Couldn't connect to server
```

```
    c1 .101              network 10.0.0.0/24
     │
─────┴───┬─────────┬─────────┬─────
        lvs .1    rs1 .11   rs2 .12     application on port 8080, VIP on lo
 VIP 10.0.0.10
```

**Goal:** clients of 10.0.0.10 port 80 are served by the application on rs1 and rs2, by direct
routing: answers are too large to go through the director.

**How to look.** Compare what was typed with `ipvsadm -L -n`. Then see which port the client's
packet is addressed to when it reaches a server (`tcpdump -n -i rs1-eth0`), and who answers. What
does the director change in a packet with `-g`, and what not?

When clients are served: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.ipvs.service import PacketForwarding
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import LEGACY_IPTABLES
from lvslab.training.services import RESTART_NGINX

_APPLICATION = f"{LEGACY_IPTABLES}sed -i '/listen 80 /d' /mnt/nginx.conf\n{RESTART_NGINX}"
_TYPED = """\
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.11:8080 -g
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.12:8080 -g
"""
_CURE = "iptables -t nat -A PREROUTING -d 10.0.0.10 -p tcp --dport 80 -j REDIRECT --to-ports 8080"


@exercise(
    group="repair",
    number=13,
    minutes=15,
    mode="dr",
    table=False,
    prepare={"rs1": _APPLICATION, "rs2": _APPLICATION, "director": _TYPED},
    fails="clients are served",
    fault="port-mapping-without-nat",
    hints=[
        (
            "`ipvsadm -L -n` shows port 80 for both servers: ipvsadm has silently dropped the 8080. With `-g`"
            " and `-i` the director does not rewrite the packet, so it cannot put another port in."
        ),
        (
            "The packet for 10.0.0.10 port 80 arrives at the server just so, and nobody there listens on port"
            " 80: the server refuses."
        ),
        (
            "Only the server can help: the application listens on port 80 as well (here it is nginx,"
            " /mnt/nginx.conf), or the server's own kernel redirects port 80 to 8080 (iptables, table nat,"
            " target REDIRECT). The other way is LVS-NAT, which the task excludes."
        ),
        f"On both servers: `{_CURE}`.",
    ],
    solution={"rs1": _CURE, "rs2": _CURE},
)
def check(exam: Exam) -> None:
    answers = exam.must_share(["rs1", "rs2"])
    exam.must_be_balanced(answers, PacketForwarding.DR)
