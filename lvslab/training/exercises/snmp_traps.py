"""# Traps that nobody hears

Devices report trouble by SNMP traps to one address, 10.0.0.10, UDP port 162, and two collectors
behind a director (direct routing) shall share them. The director counts every trap and sends it on;
the collectors' logs stay empty. No device complains: a trap gets no answer.

```
    c1 .101  a device    network 10.0.0.0/24
     │
─────┴───┬─────────┬─────────┬─────
        lvs .1    rs1 .11   rs2 .12     collectors, UDP port 162
 VIP 10.0.0.10
```

Send a trap from the device (`lvslab train shell client`), and one to a collector's own address:

    snmptrap -v 2c -c public 10.0.0.10 '' 1.3.6.1.6.3.1.1.5.3
    snmptrap -v 2c -c public 10.0.0.11 '' 1.3.6.1.6.3.1.1.5.3

Then read what the collector has heard (`lvslab train shell rs1`): `cat /var/log/traps.log`.

**Goal:** traps sent to 10.0.0.10 arrive in the logs of both collectors, with the device's own
address.

**How to look.** `ipvsadm -L -n --stats` on the director, then `tcpdump -n udp port 162` on a
collector. The datagram is on the collector's wire, and its service listens (`ss -lun`). Between the
two stands the collector's IP layer, and it counts what it refuses: compare `nstat -az | grep IpIn`
before and after. For whom is the datagram?

When both hear: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

import re

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.nodes import examiner
from lvslab.training.services import nginx_service, table

_LOG = "/var/log/traps.log"
_TRAP = "snmptrap -v 2c -c public {address} '' 1.3.6.1.6.3.1.1.5.3"
_TRAPS = 6

# A collector logs sender and length of each datagram: enough to see who was heard.
_COLLECTOR = nginx_service(
    "collector",
    f"""
stream {{
    log_format trap '$time_iso8601 trap from $remote_addr port $remote_port, $bytes_received bytes';
    access_log {_LOG} trap;
    server {{
        listen 162 udp;
        return "";
    }}
}}
""",
)
_TABLE = table("""
-A -u 10.0.0.10:162 -s rr
-a -u 10.0.0.10:162 -r 10.0.0.11:162 -g
-a -u 10.0.0.10:162 -r 10.0.0.12:162 -g
""")


@exercise(
    group="repair",
    number=8,
    minutes=15,
    mode="dr",
    lab={"without": ["vip-on-lo"]},
    table=False,
    prepare={"rs1": _COLLECTOR, "rs2": _COLLECTOR, "director": _TABLE},
    fails="both collectors hear",
    fault="vip-missing-on-server",
    hints=[
        (
            "With direct routing the director changes nothing in the packet but the MAC address. The datagram"
            " that reaches the collector is still addressed to 10.0.0.10."
        ),
        (
            "A host takes packets for its own addresses and drops others: `nstat -az IpInAddrErrors"
            " IpInReceives`, `ip address` on a collector."
        ),
        (
            "Each collector must have 10.0.0.10 as well, somewhere where nobody asks for it by ARP: on `lo`,"
            " with prefix length 32."
        ),
        (
            "On both collectors: `ip address add 10.0.0.10/32 dev lo` (arp_ignore and arp_announce are set"
            " already)."
        ),
    ],
    solution={"rs1": "ip address add 10.0.0.10/32 dev lo", "rs2": "ip address add 10.0.0.10/32 dev lo"},
)
def check(exam: Exam) -> None:
    collectors = list(exam.plan.addresses.rips)
    own = re.escape(examiner(exam.plan).ip)
    before = {name: _heard(exam, name, own) for name in collectors}
    exam.client.run("\n".join([_TRAP.format(address=exam.vip)] * _TRAPS)).check(exam.client.name, "snmptrap")

    def news() -> dict[str, int]:
        return {name: _heard(exam, name, own) - before[name] for name in collectors}

    exam.wait_until(lambda: sum(news().values()) == _TRAPS, seconds=1.0)
    heard = news()
    shown = ", ".join(f"{name} {count}" for name, count in heard.items())
    exam.must(
        "both collectors hear",
        sum(heard.values()) == _TRAPS and all(heard.values()),
        f"{_TRAPS} traps were sent to {exam.vip} and heard with the sender's own address: {shown}",
        f"{_TRAPS} traps were sent to {exam.vip}; heard with the sender's own address: {shown}",
    )


def _heard(exam: Exam, name: str, address: str) -> int:
    """How many traps of a sender are in a collector's log."""
    return len(re.findall(rf"trap from {address} port", exam.run(name, f"cat {_LOG}").out))
