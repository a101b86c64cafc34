"""# Tunnelling

Direct routing needs director and servers in one network, because it changes nothing but MAC
addresses. When the servers stand elsewhere, the director wraps each packet into a second one,
addressed to the server (LVS-TUN, IP-in-IP). The server takes it out again and answers the client
straight, wherever both may be.

```
    c1 .101    network 10.0.0.0/24
     │
─────┴──────────┬───────────┬─────
               lvs .1       gw .254
         VIP 10.0.0.10      │
─────┬──────────┬───────────┴─────
    rs1 .11    rs2 .12       network 10.0.2.0/24, port 80
```

On the way, a packet looks like this: `10.0.0.1 > 10.0.2.11: IP 10.0.0.101.40000 > 10.0.0.10.80`.
The director is the outer sender, the client still the inner one, and nothing inside was changed.

**Build it.** The director has the address and an empty table. Shells:
`lvslab train shell director`, and the same with `rs1`, `rs2`, `client`.

1. On rs1 and rs2: the module `ipip` (`modprobe ipip`) brings the interface `tunl0`, which takes
   such packets from any sender. Give it the virtual address
   (`ip address add 10.0.0.10/… dev tunl0`) and set it up. (The servers are silent about it in ARP
   already.)
2. On the director: the virtual service on 10.0.0.10 port 80 (round robin), both servers in it by
   tunnel (`-i`). Nobody rewrites ports here.
3. Try: `curl -m 2 http://10.0.0.10/` on the client. It is not enough yet. Go and look where the
   packet gets lost, with `tcpdump -n -i rs1-eth0` and `tcpdump -n -i tunl0` on rs1, and
   `nstat -az TcpExtIPReversePathFilter` before and after.
4. The servers have the *reverse path filter* on, as many systems have: a packet must come by the
   interface by which its sender would be reached. `sysctl -a -r '\\.rp_filter'` shows it; for each
   interface the larger of its own value and that of `all` counts. Make an exception for what comes
   out of the tunnel; the network card may keep its filter.

When clients are served by both: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel

_STRICT = "sysctl -q -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1\n"

_SERVER = """\
modprobe ipip
ip address add 10.0.0.10/32 dev tunl0
ip link set tunl0 up
sysctl -w net.ipv4.conf.tunl0.rp_filter=2
"""


@exercise(
    group="path",
    number=3,
    minutes=20,
    mode="tun",
    lab={"without": ["tunl0", "rp-filter"]},
    table=False,
    prepare={"rs1": _STRICT, "rs2": _STRICT},
    fails="clients are served",
    hints=[
        (
            "Follow the packet: does it leave the director wrapped, does it arrive at the server, does it"
            " come out of tunl0, is it answered?"
        ),
        (
            "`ip address add 10.0.0.10/32 dev tunl0`, `ip link set tunl0 up` on each server; `ipvsadm -a -t"
            " 10.0.0.10:80 -r 10.0.2.11:80 -i` and the same for .12 on the director."
        ),
        (
            "The inner sender is a client. The server reaches clients by its network card, but this packet"
            " came by tunl0: strict filtering (1) drops it. `all`=1 counts for every interface, so tunl0=0"
            " alone changes nothing. 2 (loose) is fine, and so is 0."
        ),
        (
            "On each server: `sysctl -w net.ipv4.conf.tunl0.rp_filter=2` (the larger value counts, so `all`"
            " may stay 1); or `all` and `tunl0` to 0 and the network card to 1."
        ),
    ],
    solution={
        "rs1": _SERVER,
        "rs2": _SERVER,
        "director": (
            """\
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.2.11:80 -i
ipvsadm -a -t 10.0.0.10:80 -r 10.0.2.12:80 -i
"""
        ),
    },
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
