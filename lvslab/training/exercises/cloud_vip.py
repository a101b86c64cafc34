"""# An address that the machine does not have

In this cloud, elastic addresses are not given to a machine: the cloud routes them to it. All
sixteen of **203.0.113.80/28** are routed to the director, one for each customer of a shop; the
customers' DNS names point to them. The director is to balance port 80 of all of them over two
servers by LVS-NAT. A colleague has set up the first one. It does not work either.

```
    c1  10.0.0.101                            client;  203.0.113.80/28 via 10.0.0.1
     │
    lvs 10.0.0.1 │ 10.0.1.1                   director; has no address of 203.0.113.80/28
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

**What users say.** "The shop does not answer." And the colleague: "ipvsadm shows the service, but
its counters stay at zero."

**Look.** On the client (`lvslab train shell client`): `curl -m 2 http://203.0.113.80/`. On the
director (`lvslab train shell director`): `ipvsadm -L -n --stats`, and meanwhile
`tcpdump -n -i lvs-eth0 tcp port 80`. What does the director do with a packet for an address that it
does not have? Ask its routing: `ip route get 203.0.113.80 from 10.0.0.101 iif lvs-eth0`.

**Goal.** A request to port 80 of *any* address of 203.0.113.80/28 is answered, and both servers
take part. Do not give them to lvs-eth0: the cloud's agent soon takes off whatever it has not put
there.

`lvslab train check` judges; `lvslab train hint` helps.
"""

import random

from lvslab.modes.base import Role
from lvslab.training.clients import ask
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import LEGACY_IPTABLES

_ELASTIC = [f"203.0.113.{host}" for host in range(80, 96)]


@exercise(
    group="repair",
    number=15,
    minutes=20,
    mode="nat",
    table=False,
    prepare={
        "client": "ip route add 203.0.113.80/28 via 10.0.0.1\n",
        "director": LEGACY_IPTABLES
        + """\
ipvsadm -A -t 203.0.113.80:80 -s rr
ipvsadm -a -t 203.0.113.80:80 -r 10.0.1.11:8080 -m
ipvsadm -a -t 203.0.113.80:80 -r 10.0.1.12:8080 -m
""",
    },
    hints=[
        (
            "IPVS takes packets where the kernel delivers them to *itself*. A packet for an address that is"
            " not its own is forwarded, or dropped for want of a route; the table is not even looked at."
        ),
        (
            "`ip route add local …` makes addresses local without giving them to an interface. With `ip rule"
            " add fwmark …` that can be done for marked packets alone."
        ),
        (
            "Sixteen addresses, one service: mark the packets (`iptables -t mangle -A PREROUTING … -j MARK"
            " --set-mark 80`), deliver marked ones locally (a rule, and a table with one `local` route), and"
            " balance the mark: `ipvsadm -A -f 80`."
        ),
        (
            "On the director: `iptables -t mangle -A PREROUTING -d 203.0.113.80/28 -p tcp --dport 80 -j MARK"
            " --set-mark 80`, `ip rule add fwmark 80 lookup 80`, `ip route add local default dev lo table"
            " 80`; then `ipvsadm -A -f 80 -s rr` and both servers with `ipvsadm -a -f 80 -r 10.0.1.11:8080"
            " -m`."
        ),
    ],
    solution={
        "director": (
            """\
ipvsadm -D -t 203.0.113.80:80
iptables -t mangle -A PREROUTING -d 203.0.113.80/28 -p tcp --dport 80 -j MARK --set-mark 80
ip rule add fwmark 80 lookup 80
ip route add local default dev lo table 80
ipvsadm -A -f 80 -s rr
ipvsadm -a -f 80 -r 10.0.1.11:8080 -m
ipvsadm -a -f 80 -r 10.0.1.12:8080 -m
"""
        )
    },
    fails="the first address",
    fault="vip-not-local",
)
def check(exam: Exam) -> None:
    exam.client.run("ip route replace 203.0.113.80/28 via 10.0.0.1").check(
        exam.client.name, "ip route replace"
    )
    first = [ask(exam, address=_ELASTIC[0], timeout=1.0) for _ in range(2)]
    exam.must(
        "the first address",
        all(first),
        f"requests to {_ELASTIC[0]}:80 are answered",
        f"a request to {_ELASTIC[0]}:80 gets no answer",
    )
    others = [_ELASTIC[1], _ELASTIC[-1], *random.sample(_ELASTIC[2:-1], 4)]
    silent = []
    for address in others:
        if not ask(exam, address=address, timeout=1.0):
            silent.append(address)
            break
    exam.must(
        "any address",
        not silent,
        f"so are those to {', '.join(others)}",
        f"a request to {', '.join(silent)}:80 gets no answer",
    )
    servers = {reply.server for reply in (ask(exam, address=others[0]) for _ in range(4)) if reply}
    names = {each.name for each in exam.plan.of_role(Role.REAL_SERVER)}
    exam.must(
        "both servers work",
        servers == names,
        f"answers come from {', '.join(sorted(servers))}",
        f"answers come from {', '.join(sorted(servers)) or 'nobody'} only",
    )
    interface = exam.plan.addresses.outer
    shown = exam.run("director", f"ip -o -4 address show dev {interface}").check(
        "director", "ip address show"
    )
    exam.must(
        "no foreign address",
        not any(f" {each}/" in shown for each in _ELASTIC),
        f"none of the elastic addresses is on {interface}",
        f"an elastic address is on {interface}, where the cloud's agent will take it off",
    )
