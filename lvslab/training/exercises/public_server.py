"""# The server with an address of its own

Two web servers stand behind a director (LVS-NAT). The second one is older than the director: it has
an address in the clients' network, 10.0.0.12, and its old users still come to port 80 there. Since
it was added to the balancer as well, half of the requests hang.

```
    c1  10.0.0.101                                   client
     │
     ├─────────────────────────────┐
    lvs 10.0.0.1, 10.0.0.10        │                 director
     │  10.0.1.1                   │
     ├──────────────────┐          │
    rs1 10.0.1.11      rs2 10.0.1.12, 10.0.0.12      web servers: port 8080 for the director, 80 for old users
```

**What users say.** "Every second request to 10.0.0.10 hangs. 10.0.0.12 itself works perfectly, so
the server is all right."

**Look.** On the client (`lvslab train shell client`): `curl -m 2 http://10.0.0.10/` a few times,
and meanwhile on the client `tcpdump -n -i c1-eth0 tcp` in a second shell: from which address do the
answers come? On rs2 (`lvslab train shell rs2`): `ip address`, `ip route`,
`ip route get 10.0.0.101`, `ip route get 10.0.0.101 from 10.0.1.12`. On the director:
`ipvsadm -L -n -c`.

**Goal.** Requests to 10.0.0.10 are answered by both servers. Requests to 10.0.0.12 go on being
answered by rs2. Both servers go on seeing the addresses of their clients (their answers show them),
because the log files are evaluated.

`lvslab train check` judges; `lvslab train hint` helps.
"""  # noqa: W505

from lvslab.training.clients import ask
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.nodes import examiner

_PUBLIC = "10.0.0.12"


@exercise(
    group="repair",
    number=16,
    minutes=20,
    mode="nat",
    lab={"topology": "bypass"},
    hints=[
        (
            "In LVS-NAT the director puts the virtual address back into the *replies*. It can only do that to"
            " replies that pass it."
        ),
        (
            "rs2 has two ways to the clients, and takes the shorter one, whatever address the packet has as"
            " its source. It must choose by the source: what comes from 10.0.1.12 has to go back by way of"
            " the director. That is policy routing: `ip rule`."
        ),
        (
            "A routing table of its own (number 100, say) with a default route via 10.0.1.1, and a rule that"
            " sends what comes from 10.0.1.12 to that table."
        ),
        "On rs2: `ip route add default via 10.0.1.1 table 100`, then `ip rule add from 10.0.1.12 lookup 100`",
    ],
    solution={
        "rs2": (
            """\
ip route add default via 10.0.1.1 table 100
ip rule add from 10.0.1.12 lookup 100
"""
        )
    },
    fails="clients are served",
    fault="reply-bypasses-director",
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"], 6)
    direct = [ask(exam, address=_PUBLIC, timeout=1.0) for _ in range(2)]
    exam.must(
        "the old address",
        all(each and each.server == "rs2" for each in direct),
        f"rs2 answers at {_PUBLIC}:80 too",
        f"a request to {_PUBLIC}:80 gets no answer from rs2",
    )
    own = examiner(exam.plan).ip
    seen = {each.client[0] for each in exam.get(4) if each.client}
    exam.must(
        "client address the servers see",
        seen == {own},
        "the servers see the client's own address",
        f"the servers see {', '.join(sorted(seen)) or 'nobody'} instead of the client, {own}",
    )
