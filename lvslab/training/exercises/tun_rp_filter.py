"""# Into the tunnel, and never out

The servers moved to another building, behind a router. The director now reaches them through
IP-in-IP tunnels (LVS-TUN); they unwrap the packets and answer the clients straight. After the last
security update of the servers nobody is served any more:

```
$ curl -m 3 http://10.0.0.10/
curl: (28) Connection timed out after 3001 milliseconds
```

```
    c1 .101    network 10.0.0.0/24
     │
─────┴──────────┬───────────┬─────
               lvs .1       gw .254
         VIP 10.0.0.10      │
─────┬──────────┬───────────┴─────
    rs1 .11    rs2 .12       network 10.0.2.0/24, VIP on tunl0
```

The update brought `/etc/sysctl.d/90-hardening.conf` to rs1 and rs2. Security wants the servers to
keep a filter against forged senders where that is possible: see whether there is a setting that
pleases both.

**Goal:** clients of 10.0.0.10 port 80 are served by rs1 and rs2 through the tunnels.

**How to look.** While the client asks, run `tcpdump -n -i rs1-eth0` on a server, then
`tcpdump -n -i tunl0`: the packet arrives wrapped, and it arrives unwrapped. What happens to it
then? The kernel counts what it throws away: `nstat -az | grep -i filter` before and after.

When clients are served: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel

_HARDENING = """\
mkdir -p /etc/sysctl.d
printf '%s\\n' 'net.ipv4.conf.all.rp_filter = 1' 'net.ipv4.conf.all.accept_redirects = 0' >/etc/sysctl.d/90-hardening.conf
sysctl -q -p /etc/sysctl.d/90-hardening.conf
"""  # noqa: E501
_CURE = """\
sed -i 's/rp_filter = 1/rp_filter = 2/' /etc/sysctl.d/90-hardening.conf
sysctl -p /etc/sysctl.d/90-hardening.conf
"""


@exercise(
    group="repair",
    number=6,
    minutes=15,
    mode="tun",
    prepare={"rs1": _HARDENING, "rs2": _HARDENING},
    fails="clients are served",
    fault="tunnel-rp-filter",
    hints=[
        (
            "After unwrapping, a packet from 10.0.0.101 comes out of the interface tunl0. By which interface"
            " would the server reach 10.0.0.101?"
        ),
        (
            "`rp_filter` (reverse path filter, RFC 3704) drops a packet whose sender would not be reached by"
            " the interface on which it came. A tunnel of LVS is used in one direction only, so that is"
            " always the case."
        ),
        (
            "For each interface the larger of two values counts, the one of `all` and its own. 1 is strict; 2"
            " is loose: the sender must be reachable by *some* interface; 0 is off. So setting tunl0 alone to"
            " 0 changes nothing."
        ),
        (
            "On both servers: `sysctl -w net.ipv4.conf.all.rp_filter=2`, and the same in"
            " `/etc/sysctl.d/90-hardening.conf`."
        ),
    ],
    solution={"rs1": _CURE, "rs2": _CURE},
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
