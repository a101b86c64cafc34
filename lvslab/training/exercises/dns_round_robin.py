"""# Who balances the balancers?

The name www.shop.test has two addresses in the DNS, so that clients share two LVS directors:
10.0.0.10 belonged to lvs, 10.0.0.20 to a second one. The second director burnt out this morning.
Both directors have always had the same table, with both addresses, and the servers accept both
(LVS-DR), so that one could stand in for the other. Only nobody has told them how.

```
    c1  10.0.0.101                            client: www.shop.test is 10.0.0.10 and 10.0.0.20
     │
     ├──────────────┬──────────────┐
    lvs 10.0.0.1   rs1 10.0.0.11  rs2 10.0.0.12        director, web servers (both addresses on lo)
    10.0.0.10
```

**What users say.** "Sometimes the shop is there, sometimes I get 'no route to host' after some
seconds." The DNS team: "We have taken the address out. It will take a day until everybody has
noticed: that is the time to live."

**Look.** On the client (`lvslab train shell client`): `getent ahostsv4 www.shop.test`, then
`curl -m 5 http://10.0.0.10/` and `curl -m 5 http://10.0.0.20/`; `ip neighbour` tells why. On the
director (`lvslab train shell director`): `ipvsadm -L -n` and `ip address`.

**Goal.** Both addresses are answered, and on each both servers take part. The second director will
not be back today.

(To be found out by hand at three in the morning, this is bad enough. The remedy for good is VRRP:
each director is master of one address and backup of the other. See the lab director-pair.)

`lvslab train check` judges; `lvslab train hint` helps.
"""

from lvslab.modes.base import Role
from lvslab.training.clients import ask
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise

_OTHER = "10.0.0.20"


@exercise(
    group="repair",
    number=18,
    minutes=10,
    mode="dr",
    prepare={
        "director": (
            """\
ipvsadm -S -n | sed -n 's/10\\.0\\.0\\.10:80/10.0.0.20:80/p' | ipvsadm -R
"""
        ),
        "rs1": f"ip address add {_OTHER}/32 dev lo\n",
        "rs2": f"ip address add {_OTHER}/32 dev lo\n",
        "client": "echo '10.0.0.10 www.shop.test\n10.0.0.20 www.shop.test' >>/etc/hosts\n",
    },
    hints=[
        (
            "DNS round robin shares the clients, but it knows nothing of life and death. As long as clients"
            " have an address, somebody must answer for it. Who answers when the client asks by ARP for"
            " 10.0.0.20?"
        ),
        "The director's table has a service for 10.0.0.20. But does the director have the address?",
        (
            "Give the address to the director's interface in the clients' network, beside the other one: `ip"
            " address add …`. (Neighbours that still remember the old director's MAC address can be told by"
            " gratuitous ARP: `busybox arping -U -I lvs-eth0 -c 3 10.0.0.20`.)"
        ),
        "On the director: `ip address add 10.0.0.20/32 dev lvs-eth0`",
    ],
    solution={
        "director": (
            f"""\
ip address add {_OTHER}/32 dev lvs-eth0
busybox arping -U -I lvs-eth0 -c 1 {_OTHER}
"""
        )
    },
    fails="every address answers",
    fault="balancer-dead",
)
def check(exam: Exam) -> None:
    names = {each.name for each in exam.plan.of_role(Role.REAL_SERVER)}
    addresses = (exam.vip, _OTHER)
    first = {address: ask(exam, address=address, timeout=1.5) for address in addresses}
    silent = [address for address, answer in first.items() if not answer]
    exam.must(
        "every address answers",
        not silent,
        f"{' and '.join(addresses)} are answered",
        f"{', '.join(silent)} is not answered: half of the clients of www.shop.test would wait in vain",
    )
    for address in addresses:
        servers = {
            reply.server if reply else ""
            for reply in (ask(exam, address=address) for _ in range(3 * len(names)))
        }
        exam.must(
            f"who serves {address}",
            servers == names,
            f"answers came from {', '.join(sorted(servers))}",
            f"answers came from {', '.join(sorted(each or 'nobody' for each in servers))}; expected:"
            f" {', '.join(sorted(names))}",
        )
