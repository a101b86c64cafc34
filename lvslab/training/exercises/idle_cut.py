"""# Cut while nobody speaks

A database sits behind a director (LVS-NAT). Programs keep connections to it open, and ask when
there is something to ask. After a quiet quarter of an hour the next question gets a reset, or no
answer at all. Without the director it works for days.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   servers (they speak HTTP here; it is kept alive for 75 s)
```

(To save your time, all is faster here: what is a quarter of an hour at work is **2 seconds** in
this lab, and programs rest for **4 seconds** at most, which would be half an hour.)

**What users say.** "The connection pool is full of dead connections every morning."

**Look.** On the client (`lvslab train shell client`) speak HTTP by hand, rest, and speak again:

    (printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; sleep 4; printf 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'; sleep 1) | nc -N 10.0.0.10 80

Both questions should be answered. Meanwhile on the director (`lvslab train shell director`):
`watch -n 0.5 ipvsadm -L -n -c`, and `tcpdump -n -i lvs-eth0 tcp port 80`: who sends the reset?

**Goal.** A connection that rested for four seconds works as before. New connections go on being
balanced over both servers. Servers that were restarted for the purpose do not matter; the clients'
programs cannot be changed.

`lvslab train check` judges; `lvslab train hint` helps.
"""  # noqa: E501, W505

import time

from lvslab.training.clients import Broken, Client
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise

_REST = 4.0
"""Seconds."""

_COUNT = 4


@exercise(
    group="repair",
    number=22,
    minutes=10,
    mode="nat",
    prepare={"director": "ipvsadm --set 2 2 300\n"},
    hints=[
        (
            "An entry of the director's table lives for a limited time after its last packet. Which time is"
            " it, and what happens to a packet that comes after that?"
        ),
        (
            "`ipvsadm -L --timeout` shows three times: for TCP connections that stand, for TCP connections"
            " that end, for UDP."
        ),
        (
            "`ipvsadm --set TCP TCPFIN UDP` changes them; 0 leaves one as it is. It must be longer than"
            " programs rest. (At work: longer than the keep-alive time, which is two hours unless somebody"
            " set it; or set that one shorter than the director's 15 minutes.)"
        ),
        "On the director: `ipvsadm --set 900 0 0`",
    ],
    solution={"director": "ipvsadm --set 900 120 0\n"},
    fails="connections may rest",
    fault="idle-timeout",
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"], 4)
    clients = []
    try:
        for _ in range(_COUNT):
            clients.append(Client(exam))
        before = [_ask(each) for each in clients]
        time.sleep(_REST)
        after = [_ask(each) for each in clients]
    except OSError as error:
        exam.must(
            "connections", False, "", f"a new connection to {exam.vip}:80 failed: {error.strerror or error}"
        )
    finally:
        for each in clients:
            each.close()
    exam.must(
        "connections",
        all(before),
        f"{_COUNT} connections got their first answer",
        f"{before.count('')} of {_COUNT} connections got no first answer",
    )
    exam.must(
        "connections may rest",
        after == before,
        f"after {_REST:g} s of rest, all {_COUNT} connections went on, each at its server",
        f"after {_REST:g} s of rest, {sum(a != b for a, b in zip(after, before, strict=True))} of {_COUNT}"
        " connections were dead",
    )


def _ask(client: Client) -> str:
    """The server that answered, or ""."""
    try:
        return client.get().server
    except Broken:
        return ""
