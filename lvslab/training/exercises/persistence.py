"""# Persistence

A shop keeps its users' sessions in the memory of the server where they logged in. A balancer that
shares out *connections* sends the next click to another server, where nobody knows the user. With
**persistence** the director remembers where a client went: an entry in its table, called template,
sends all further connections of the same client to the same server, until it has been quiet for a
while.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: port 80, round robin (LVS-NAT)
     │
    rs1 10.0.1.11:8000   rs2 10.0.1.12:8000   the shop
```

**Try it first.** On the client (`lvslab train shell client`):

    sid=$(curl -s http://10.0.0.10/cgi-bin/login); echo $sid
    curl -s "http://10.0.0.10/cgi-bin/home?$sid"

Repeat the second line. Half of the answers say "unknown session".

**Build it.** Change the service on the director (`lvslab train shell director`) with `ipvsadm -E`,
which takes the same words as `-A`.

1. `-p SECONDS` makes it persistent: a user may rest for **five minutes**. Log in again and try.
   `ipvsadm -L -n -c --persistent-conn` shows the template, `10.0.0.101:0`, and how long it still
   lives; it lives on as long as one of its connections does.
2. The users of this shop come through their providers' proxies: every provider has a *block of
   sixteen addresses* (10.0.0.128 to .143 is one, .144 to .159 the next, and so on), and each click
   may come from another address of the block. The client has two such addresses:
   `curl -s --interface 10.0.0.131 …` and `--interface 10.0.0.132 …`. Log in with one, click with
   the other. `-M NETMASK` says how much of an address makes up "the same client". Sixteen addresses
   are a /28.

Do not make the blocks larger than they are: all users of a block share one server, and both servers
shall have work.

`lvslab train check` judges; `lvslab train hint` helps.
"""

from lvslab.training import sessions
from lvslab.training.clients import MOST, ask, take_addresses
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.services import table

_RULES = """\
-A -t 10.0.0.10:80 -s rr
-a -t 10.0.0.10:80 -r 10.0.1.11:8000 -m
-a -t 10.0.0.10:80 -r 10.0.1.12:8000 -m
"""
_CLIENT = "ip address add 10.0.0.131/24 dev c1-eth0\nip address add 10.0.0.132/24 dev c1-eth0\n"

_REST = 300
"""Seconds that a user may rest."""

_BLOCK = 16


@exercise(
    group="path",
    number=7,
    minutes=20,
    mode="nat",
    table=False,
    prepare={
        "rs1": sessions.server("rs1", 8000, ["home"]),
        "rs2": sessions.server("rs2", 8000, ["home"]),
        "director": table(_RULES),
        "client": _CLIENT,
    },
    fails="the same address",
    hints=[
        (
            "`ipvsadm -E` replaces all options of the service: name the scheduler again, and everything else"
            " that shall stay."
        ),
        "`ipvsadm -E -t 10.0.0.10:80 -s rr -p 300` is the first half.",
        (
            "The netmask belongs to `-p`. A /28 is 255.255.255.240; a /24 would put all clients here into one"
            " block. Connections that stand already have their templates: log in anew after a change."
        ),
        "`ipvsadm -E -t 10.0.0.10:80 -s rr -p 300 -M 255.255.255.240`",
    ],
    solution={"director": "ipvsadm -E -t 10.0.0.10:80 -s rr -p 300 -M 255.255.255.240\n"},
)
def check(exam: Exam) -> None:
    blocks: dict[int, list[str]] = {}
    for address in take_addresses(exam, MOST):
        blocks.setdefault(int(address.rpartition(".")[2]) // _BLOCK, []).append(address)
    replies = {
        block: ask(exam, "/cgi-bin/login", source=(addresses[0], 0)) for block, addresses in blocks.items()
    }
    logins = {block: reply.text.strip() for block, reply in replies.items() if reply and reply.status == 200}
    exam.must(
        "log-in works",
        len(logins) == len(blocks),
        f"users from {len(blocks)} blocks of addresses have logged in",
        f"{len(blocks) - len(logins)} of {len(blocks)} log-ins at {exam.vip}:80 got no answer",
    )
    servers: set[str] = set()
    for name, which in (("the same address", 0), ("the same block", -1)):
        lost = []
        for block, addresses in blocks.items():
            for _ in range(2):
                reply = ask(exam, f"/cgi-bin/home?{logins[block]}", source=(addresses[which], 0))
                if reply and reply.status == 200:
                    servers.add(reply.headers["x-server"])
                else:
                    lost.append(addresses[which])
        exam.must(
            name,
            not lost,
            f"{2 * len(blocks)} of {2 * len(blocks)} clicks knew their user",
            f"{len(lost)} of {2 * len(blocks)} clicks met a server that does not know the user, the first one"
            f" from {(lost or [''])[0]}",
        )
    exam.must(
        "both servers work",
        servers == {"rs1", "rs2"},
        f"users of {len(blocks)} blocks share rs1 and rs2",
        f"users of {len(blocks)} blocks are all at {', '.join(sorted(servers))}",
    )
    _must_last(exam)


def _must_last(exam: Exam) -> None:
    """A service that remembers users must do so for as long as they rest (one that computes the
    server need not remember).
    """
    seconds = [each.persistence_timeout for each in exam.table() if each.persistence_timeout]
    shortest = min(seconds, default=_REST)
    exam.must(
        "long enough",
        shortest >= _REST,
        f"a user may rest for {shortest} s",
        f"the director forgets users after {shortest} s of rest; they may rest for {_REST} s",
    )
