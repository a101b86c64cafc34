"""# The deleted server that swallows its clients

rs1 died some minutes ago. The operator did the right thing and deleted it from the director's
table; new users are served by rs2 since then. But the users who had a connection to rs1 are still
waiting: their programs hang, and would do so for a quarter of an hour. They would connect again at
once, if only somebody told them that their connection is gone.

```
    c1  10.0.0.101                            client, with a program that asks twice a second over one connection
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: LVS-NAT, rs1 was deleted from the table
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

**What users say.** "Ever since the alarm my program stands still. When I start it again, it works."

**Look.** On the client (`lvslab train shell client`): `tail /root/answers` shows what the program
(/root/lasting-connection) got last, and when; `ss -t` shows its connection, with bytes in Send-Q
that nobody acknowledges. On the director (`lvslab train shell director`): `ipvsadm -L -n`, `ipvsadm -L -n -c`:
whom does the old connection belong to? `tcpdump -n -i lvs-eth0 tcp` shows what comes in and what
goes back. (TCP tries less and less often. Once the cure is in, the program hears of it with its
next try; `ipvsadm -L -n -c` helps you to tell.)

**Goal.** When a server is deleted from the table, who has a connection to it hears at once that it
is over, and can connect again. The check deletes a server by itself to see, and puts it back.
Connections to the other server must not suffer. Whether you put rs1 back into the table (it is
repaired by now) is up to you.

`lvslab train check` judges; `lvslab train hint` helps.
"""  # noqa: E501, W505

import time

from lvslab.training import drill
from lvslab.training.clients import Broken, Client, ask
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import background, wait_for

_AT_ONCE = 1.5
"""Seconds. TCP sends a segment again after some 0.2, 0.6 and 1.4 s, when the first ones meet a
table that is just being changed.
"""

_ANSWERED = 'ipvsadm -L -n --stats --exact | grep -qE "10.0.1.11.* ([4-9]..|[0-9]{4})$"'
"""The server has said 400 octets: an answer has left, since a handshake has no more than 300, sent
again and again. A connection whose server is deleted between its handshake and its first answer
never gets one.
"""


@exercise(
    group="repair",
    number=20,
    minutes=10,
    mode="nat",
    lab={"weights": (1, 0)},  # so that the program is at rs1
    prepare={
        "client": background("lasting-connection.bash") + wait_for("[ -s /root/answers ]"),
        "director": wait_for(_ANSWERED)
        + """\
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 1
ipvsadm -d -t 10.0.0.10:80 -r 10.0.1.11:8080
""",
    },
    hints=[
        (
            "The director still has the connection in its own table, and it belongs to a server that does not"
            " exist any more. What does it do with the packets, and what does it tell the client?"
        ),
        (
            "Silence is IPVS's habit: the server might come back in a moment. There is a switch for those who"
            " do not want to wait ('no destination')."
        ),
        "See `sysctl net.ipv4.vs` on the director: `expire_nodest_conn`.",
        "On the director: `sysctl -w net.ipv4.vs.expire_nodest_conn=1`",
    ],
    solution={"director": "sysctl -w net.ipv4.vs.expire_nodest_conn=1\n"},
    fails="clients are told",
    fault="deleted-server-swallows",
)
def check(exam: Exam) -> None:
    exam.must(
        "new clients are served",
        ask(exam) is not None,
        f"{exam.vip}:80 answers new connections",
        f"a new connection to {exam.vip}:80 gets no answer",
    )
    _must_tell(exam)


def _must_tell(exam: Exam) -> None:
    """Delete a server on purpose: whoever is there hears of it, whoever is elsewhere hears
    nothing.
    """
    with drill.present(exam, "rs1"):
        with drill.weights(exam, {"rs1": 0, "rs2": 1}), drill.open_or_none(exam) as stays:
            with drill.weights(exam, {"rs1": 1, "rs2": 0}), drill.open_or_none(exam) as goes:
                both = _server(stays) == "rs2" and _server(goes) == "rs1"
                with drill.without(exam, "rs1"):
                    told, seconds = _hears(goes)
                    untouched = _server(stays) == "rs2"
    exam.must(
        "a drill",
        both,
        "the examiner had a connection to either server",
        "the examiner's connections to the two servers got no answer",
    )
    exam.must(
        "clients are told",
        told,
        f"{seconds:.1f} s after rs1 was deleted, a client with a connection there knew that it was gone",
        f"after rs1 was deleted, a client with a connection there heard nothing for {seconds:.1f} s",
    )
    exam.must(
        "others go on", untouched, "the connection to rs2 went on", "the connection to rs2 was cut as well"
    )


def _server(client: Client | None) -> str:
    try:
        return client.get().server if client else ""
    except Broken:
        return ""


def _hears(client: Client | None) -> tuple[bool, float]:
    """Whether a client whose server is gone hears of it when it asks, and after how many
    seconds.
    """
    began = time.monotonic()
    if client is None:
        return False, 0.0
    client.socket.settimeout(_AT_ONCE)
    try:
        client.get()
    except TimeoutError:
        return False, time.monotonic() - began
    except Broken:
        return True, time.monotonic() - began
    return False, time.monotonic() - began
