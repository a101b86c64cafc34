"""# The standby that knows nothing

Two directors stand in for each other: VRRP moves the addresses (lvs1 is master), and connection
sync shall tell the standby about the connections, so that they survive a takeover. Both daemons
run. The packets are on the wire. Yet in the last takeover everybody was cut off.

```
    c1  10.0.0.101                                            client
     │
     ├───────────────────┐
    lvs1 10.0.0.1       lvs2 10.0.0.2     10.0.0.10 by VRRP   directors: LVS-NAT
     │   10.0.1.1        │   10.0.1.2     10.0.1.254 by VRRP  sync over this network
     ├───────────────────┤
    rs1 10.0.1.11:8080  rs2 10.0.1.12:8080                    web servers
```

**What operators say.** "Sync is switched on, we see the multicast. `ipvsadm -L -n -c` on the
standby is empty all the same."

**Look.** On the client (`lvslab train shell client`) open a connection, and let it speak now and
then:

    (while printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; do sleep 0.2; done) | nc 10.0.0.10 80

On lvs1 (`lvslab train shell lvs1`) and lvs2 (`lvslab train shell lvs2`): `ipvsadm -L -n -c`,
`ipvsadm -L --daemon`; on lvs2 `tcpdump -n -X -i lvs2-eth1 udp port 8848`. Sync is not immediate: a
connection is told after some packets (`sysctl net.ipv4.vs.sync_threshold`), and messages are
collected for up to three seconds.

**Goal.** A connection that was opened with lvs1 as master goes on when lvs2 takes over. The check
makes them change places for a moment.

`lvslab train check` judges; `lvslab train hint` helps.
"""

from lvslab.plan.redundancy import SYNC_FLUSH, Redundancy
from lvslab.training import drill
from lvslab.training.clients import Broken, Client
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise

_TIMES = 3
"""Requests before the takeover: more packets than the first one of net.ipv4.vs.sync_threshold."""


@exercise(
    group="repair",
    number=23,
    minutes=20,
    mode="nat",
    lab={"directors": 2, "redundancy": Redundancy(sync=False, preempt=True)},
    prepare={
        "lvs1": "ipvsadm --start-daemon master --mcast-interface lvs1-eth1 --syncid 1\n",
        "lvs2": "ipvsadm --start-daemon backup --mcast-interface lvs2-eth1 --syncid 2\n",
    },
    hints=[
        (
            "The messages leave lvs1 and reach lvs2's network card. What could make lvs2's kernel pass them"
            " over? Compare the two daemons."
        ),
        (
            "Several pairs may share a network. So that they do not mix, each message carries a number, and a"
            " backup daemon takes its own only."
        ),
        (
            "`ipvsadm -L --daemon` shows the number as syncid. A daemon is stopped with `ipvsadm"
            " --stop-daemon backup`, and started with the options `--mcast-interface` and `--syncid`."
        ),
        (
            "On lvs2: `ipvsadm --stop-daemon backup`, then `ipvsadm --start-daemon backup --mcast-interface"
            " lvs2-eth1 --syncid 1`"
        ),
    ],
    solution={
        "lvs2": (
            """\
ipvsadm --stop-daemon backup
ipvsadm --start-daemon backup --mcast-interface lvs2-eth1 --syncid 1
"""
        )
    },
    fails="connections survive",
    fault="sync-mismatch",
)
def check(exam: Exam) -> None:
    from lvslab.ipvs.ipvsadm import Ipvsadm

    with drill.open_or_none(exam, timeout=3.0) as client:
        answers = {_ask(client) for _ in range(_TIMES)}
        exam.must(
            "a connection",
            len(answers) == 1 and "" not in answers,
            f"the examiner has a connection to {', '.join(answers)} by way of {exam.lab.master}",
            f"the examiner's connection to {exam.vip}:80 got no answer",
        )
        port = client.port if client else 0
        standby = next(each.name for each in exam.plan.directors if each.name != exam.lab.master)
        known = exam.wait_until(
            lambda: any(each.client.port == port for each in Ipvsadm(exam.node(standby)).list_connections()),
            SYNC_FLUSH,
            0.3,
        )
        with drill.taken_over(exam):
            answer = _ask(client)
    exam.must(
        "connections survive",
        answer in answers,
        f"the connection went on by way of {standby}",
        f"the connection was dead by way of {standby}, whose table {'had' if known else 'did not have'} it",
    )


def _ask(client: Client | None) -> str:
    """The server that answered, or ""."""
    try:
        return client.get().server if client else ""
    except Broken:
        return ""
