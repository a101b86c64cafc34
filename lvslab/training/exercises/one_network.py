"""# All in one network

A small office has one network, and everything is in it: clients, the director, the web servers.
LVS-NAT, and the director is the servers' default gateway, as every manual asks for. No client gets
through:

```
$ curl -m 3 http://10.0.0.10/
curl: (28) Connection timed out after 3001 milliseconds
```

```
    c1 .101              network 10.0.0.0/24
     │
─────┴───┬─────────┬─────────┬─────
        lvs .1    rs1 .11   rs2 .12     servers on port 8080, default route via 10.0.0.1
 VIP 10.0.0.10
```

A visitor from another network, the day before, was served without trouble.

**Goal:** every client of 10.0.0.0/24 is served at 10.0.0.10 port 80 by rs1 and rs2. It stays
LVS-NAT (`-m`), and nothing is changed on the clients: there are many of them.

**How to look.** Run `tcpdump -n` on the client while it asks. An answer arrives, and the client
refuses it: compare its sender with the one that the client has asked. Which way did that answer
take, and which way did it have to take? `ip route get 10.0.0.101` on a server tells.

When you believe to have it, try a connection that lasts, too:
`curl --fail-early -m 3 'http://10.0.0.10/[1-200]'` asks 200 times over one connection.

When the office is served: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

import time

from lvslab.ipvs.service import PacketForwarding
from lvslab.training.clients import Broken, Client
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import LEGACY_IPTABLES, sysctls

_REQUESTS, _PAUSE = 10, 0.03

_AS_USUAL = "ip route del 10.0.0.0/25; ip route del 10.0.0.128/25; ip route add default via 10.0.0.1"
# A router holds back redirects that its neighbours do not follow, ever longer (net/ipv4/route.c,
# ip_rt_send_redirect). Here it does not, so that their effect is seen within a second and not now
# and then.
_REDIRECTS = sysctls(
    {
        "net.ipv4.conf.all.send_redirects": 1,
        "net.ipv4.conf.lvs-eth0.send_redirects": 1,
        "net.ipv4.route.redirect_load": 0,
        "net.ipv4.route.redirect_number": 1_000_000,
    }
)
_VIA_DIRECTOR = """\
ip route add 10.0.0.0/25 via 10.0.0.1
ip route add 10.0.0.128/25 via 10.0.0.1
"""


@exercise(
    group="repair",
    number=3,
    minutes=20,
    mode="nat",
    lab={"topology": "onearm"},
    prepare={"director": LEGACY_IPTABLES + _REDIRECTS, "rs1": _AS_USUAL, "rs2": _AS_USUAL},
    fails="clients are served",
    fault="client-beside-servers",
    hints=[
        (
            "The client is the server's neighbour, so the server answers it straight and not through its"
            " gateway. The answer says 10.0.0.11:8080, the client waits for one from 10.0.0.10:80."
        ),
        (
            "The director must see the replies. Either the servers send them there although the client is"
            " next door (routes that are more specific than 10.0.0.0/24), or the director makes the servers"
            " answer to it (source NAT of what it balances)."
        ),
        (
            "With routes there is a second trap: a router that forwards a packet back into the network it"
            " came from tells the sender of the shorter way (ICMP redirect), and the sender listens:"
            " connections break halfway. `tcpdump -n icmp` on a server shows it."
        ),
        (
            "On both servers: `ip route add 10.0.0.0/25 via 10.0.0.1` and the same for 10.0.0.128/25. On the"
            " director: `sysctl -w net.ipv4.conf.all.send_redirects=0"
            " net.ipv4.conf.lvs-eth0.send_redirects=0`. What servers have learned from redirects: `ip route"
            " flush cache`."
        ),
    ],
    solution={
        "director": "sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.lvs-eth0.send_redirects=0",
        "rs1": _VIA_DIRECTOR + "ip route flush cache",
        "rs2": _VIA_DIRECTOR + "ip route flush cache",
    },
)
def check(exam: Exam) -> None:
    answers = exam.must_share(["rs1", "rs2"])
    exam.must_be_balanced(answers, PacketForwarding.MASQ)
    broken = [str(why) for why in map(_last, [exam] * len(exam.plan.addresses.rips)) if why]
    exam.must(
        "lasting connections",
        not broken,
        f"connections with {_REQUESTS} requests each held to the end",
        f"a lasting connection broke: {broken[0] if broken else ''}; short ones may be over before it"
        " happens",
    )


def _last(exam: Exam) -> str:
    """Use one connection for a while: a redirect works on later packets only. Why it
    broke, or "".
    """
    answered = 0
    try:
        with Client(exam) as client:
            for _ in range(_REQUESTS):
                client.get()
                answered += 1
                time.sleep(_PAUSE)
    except Broken as error:
        return f"no answer to request {answered + 1} ({error})"
    return ""
