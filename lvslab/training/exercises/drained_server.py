"""# The drained server that is never empty

rs1 is to be repaired tonight. Its weight was set to 0 hours ago, so that no new connections go
there and the old ones can end in peace. But it still has users, who go on working, and new
connections go on arriving. The service is persistent, because the shop keeps baskets on its
servers.

```
    c1  10.0.0.101                            client, was at rs1 when the weight was changed
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: LVS-NAT, persistence 300 s, rs1 has weight 0
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

**What operators say.** "Weight 0 does not work. We waited an hour."

**Look.** On the client (`lvslab train shell client`): `curl http://10.0.0.10/` says which server
answered; every request is a new connection. On the director (`lvslab train shell director`):
`ipvsadm -L -n`, and `ipvsadm -L -n -c`: the line without a port (`:0`) is the template, which
remembers where a client belongs. Watch its time to live while the client asks again.
`ipvsadm -L -n --persistent-conn` counts them.

**Goal.** New connections of *all* clients go to rs2, also of those who were at rs1 before. rs1
stays in the table with weight 0, so that connections that are open now can end in peace. The
service stays persistent. It must work the same way the next time that a server is drained: the
check drains one by itself to see, and puts it back.

`lvslab train check` judges; `lvslab train hint` helps.
"""

from lvslab.training import drill
from lvslab.training.clients import Broken, Client, ask, take_addresses
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import wait_for


@exercise(
    group="repair",
    number=19,
    minutes=10,
    mode="nat",
    lab={"persistence": 300, "weights": (1, 0)},  # so that the client belongs to rs1
    prepare={
        "client": "curl -s -m 5 http://10.0.0.10/\n",
        "director": wait_for("ipvsadm -L -n -c | grep -q 10.0.0.101:0")
        + """\
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 1
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 0
""",
    },
    hints=[
        (
            "Weight 0 concerns the scheduler. Is the scheduler asked at all, when a client that the director"
            " remembers comes again?"
        ),
        (
            "The template lives on as long as its client comes back in time, and as long as it lives, its"
            " server is taken. There is a switch for what happens to templates of servers whose weight is 0"
            " ('quiescent' in the kernel's words)."
        ),
        "See `sysctl net.ipv4.vs` on the director: `expire_quiescent_template`.",
        "On the director: `sysctl -w net.ipv4.vs.expire_quiescent_template=1`",
    ],
    solution={"director": "sysctl -w net.ipv4.vs.expire_quiescent_template=1\n"},
    fails="old clients leave rs1",
    fault="persistence-keeps-drained",
)
def check(exam: Exam) -> None:
    shown = [exam.run("client", f"curl -s -m 2 http://{exam.vip}/").out.split()[:1] for _ in range(2)]
    exam.must(
        "old clients leave rs1",
        all(each == ["rs2"] for each in shown),
        "c1, which was at rs1, is now served by rs2",
        "a new connection of c1 still goes to rs1" if ["rs1"] in shown else "a request of c1 gets no answer",
    )
    service = drill.must_drain(exam, "rs1")
    exam.must(
        "persistent",
        bool(service.persistence_timeout) and service.persistence_timeout >= 300,
        f"clients are kept at their server for {service.persistence_timeout} s",
        "the service is not persistent for 300 s any more: users would lose their baskets",
    )
    _must_drain(exam, take_addresses(exam, 1)[0])


def _must_drain(exam: Exam, address: str) -> None:
    """Drain a server on purpose: a client that belongs there leaves it with its next connection,
    and one that is open goes on.
    """
    with drill.weights(exam, {"rs1": 1, "rs2": 0}), drill.open_or_none(exam, source=(address, 0)) as kept:
        before = ask(exam, source=(address, 0))
        with drill.weights(exam, {"rs1": 0, "rs2": 1}):
            after = ask(exam, source=(address, 0))
            goes_on = kept is not None and _answers(kept)
    exam.must(
        "the next time too",
        before is not None and before.server == "rs1" and after is not None and after.server == "rs2",
        "in a drill, a client that belonged to rs1 came to rs2 when rs1 was drained",
        f"in a drill, a client of rs1 came to {after.server if after else 'nobody'} after rs1 was drained",
    )
    exam.must(
        "in peace",
        goes_on,
        "and its connection that was open went on",
        "but its connection that was open was cut",
    )


def _answers(client: Client) -> bool:
    try:
        return client.get().server == "rs1"
    except Broken:
        return False
