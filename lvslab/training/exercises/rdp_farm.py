"""# Half of the users get no desktop

Users reach a farm of two session hosts by remote desktop at 10.0.0.10, TCP port 3389; a director
shares them out (LVS-NAT). Since rs2 was installed anew, every second user is refused:

```
$ nc -w 2 10.0.0.10 3389
session host rs1
$ nc -w 2 -v 10.0.0.10 3389
nc: connect to 10.0.0.10 port 3389 (tcp) failed: Connection refused
```

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director, LVS-NAT
     │
    rs1 10.0.1.11        rs2 10.0.1.12        session hosts
```

(The director only carries bytes, for any protocol on TCP. So here a small program stands for each
session host: it greets with its name.)

**Goal:** users of 10.0.0.10 port 3389 get both session hosts in turn. Whoever installed rs2 had
reasons for how it was done, and says: "It runs. I work on it all day."

**How to look.** Who refuses: the director, or the host? `tcpdump -n -i lvs-eth1 tcp` on the
director shows it. `ipvsadm -L -n` says where users are sent; `ss -ltn` on rs1 and on rs2
(`lvslab train shell rs2`) says who waits for them, and where. IPVS itself never looks.

When all users get a desktop: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

import socket

from lvslab.host import linux
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.services import greeter, table

_PORT, _TIMES, _SECONDS = 3389, 6, 2.0

_TABLE = table("""
-A -t 10.0.0.10:3389 -s rr
-a -t 10.0.0.10:3389 -r 10.0.1.11:3389 -m
-a -t 10.0.0.10:3389 -r 10.0.1.12:3389 -m
""")


@exercise(
    group="repair",
    number=12,
    minutes=10,
    mode="nat",
    table=False,
    prepare={
        "rs1": greeter("rdp", 3389, "session host rs1"),
        "rs2": greeter("rdp", 3390, "session host rs2"),
        "director": _TABLE,
    },
    fails="users are greeted",
    fault="server-port-dead",
    hints=[
        (
            "The refusal (RST) comes from rs2: the packet reaches the host, and nobody there has opened that"
            " port."
        ),
        (
            "IPVS does not know whether anybody listens; a table without health checks is a claim. Compare it"
            " with `ss -ltn` on rs2."
        ),
        (
            "rs2 listens on port 3390. Either it moves back to 3389, or the director sends its users to 3390:"
            " in NAT each real server may have a port of its own."
        ),
        (
            "On the director: `ipvsadm -a -t 10.0.0.10:3389 -r 10.0.1.12:3390 -m`, then `ipvsadm -d -t"
            " 10.0.0.10:3389 -r 10.0.1.12:3389`."
        ),
    ],
    solution={
        "director": (
            """\
ipvsadm -a -t 10.0.0.10:3389 -r 10.0.1.12:3390 -m
ipvsadm -d -t 10.0.0.10:3389 -r 10.0.1.12:3389
"""
        )
    },
)
def check(exam: Exam) -> None:
    greetings, refused = [], ""
    for _ in range(_TIMES):
        try:
            greetings.append(_greeting(exam))
        except OSError as error:
            refused = error.strerror or str(error)
            break
    exam.must(
        "users are greeted",
        not refused,
        f"{_TIMES} of {_TIMES} connections to {exam.vip}:{_PORT} were greeted",
        f"connection {len(greetings) + 1} to {exam.vip}:{_PORT} failed: {refused}",
    )
    seen = sorted(set(greetings))
    exam.must(
        "who serves",
        seen == ["session host rs1", "session host rs2"],
        f"users meet {', '.join(seen)}",
        f"users meet {', '.join(seen)} only; both session hosts shall take part",
    )


def _greeting(exam: Exam) -> str:
    """What a session host says to a user who connects.

    Raises:
        OSError: nobody answers.
    """
    with linux.network_of(exam.client.pid):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        sock.settimeout(_SECONDS)
        sock.connect((exam.vip, _PORT))
        return sock.recv(100).decode(errors="replace").strip()
