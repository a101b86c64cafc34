"""# Reading the connection table

Three servers, no health checks, and users who say "sometimes it hangs". Two of the servers are
sick, each in its own way. You find out which by two kinds of evidence: the director's table of
connections, and packets.

```
    c1  10.0.0.101                                              client: programs ask all the time
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1                          director: LVS-NAT, round robin
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   rs3 10.0.1.13:8080   web servers, of another team: do not log in there
```

A colleague has looked already: "`ipvsadm -L -n` says it all. rs1 has the most active connections,
it cannot keep up. Take it out." Is he right?

**The table.** `ipvsadm -L -n -c` on the director (`lvslab train shell director`), one line for each
connection:

```
pro expire state       source             virtual            destination
TCP 14:58  ESTABLISHED 10.0.0.101:40112   10.0.0.10:80       10.0.1.11:8080
```

`expire`: how long the entry lives if no packet comes any more. `state`: what IPVS has seen of the
connection, in both directions:

- `SYN_RECV`: the client's SYN, and nothing from the server yet. Lasting, it means that no SYN-ACK
  came back: is anybody there?
- `ESTABLISHED`: both have spoken. If `expire` keeps jumping back to 15:00, they still do.
- `CLOSE_WAIT`: the *client* has said that it is done, and the server has not. Many of them: users
  give up, and the server does not even notice.
- `FIN_WAIT`: the other way round, the server is done and the client is not.
- `TIME_WAIT`: both have ended in peace. `CLOSE`: a reset.

`ipvsadm -L -n -c | awk 'NR > 2 { print $6, $3 }' | sort | uniq -c` counts states for each server.

**The packets.** `tcpdump -n -i lvs-eth1 host 10.0.1.12` on the director shows what goes to rs2 and
what comes back: `[S]` SYN, `[S.]` SYN-ACK, `[P.]` data, `[.]` a mere acknowledgement, made by the
kernel and not by the web server, `[F.]` the end. Compare the three servers: how far does each one
get? Who does not answer at all, and whose kernel answers but not the program?

**Act.** Take both sick servers out of service, on the director, by weight 0
(`ipvsadm -e -t … -r … -m -w 0`). Who is well stays. Wait a little and look again: what tells you in
the table that the users are served now?

`lvslab train check` judges; `lvslab train hint` helps.
"""  # noqa: E501, W505

from lvslab.training.clients import ask
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import background
from lvslab.training.services import table

_RULES = """\
-A -t 10.0.0.10:80 -s rr
-a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 1
-a -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 0
-a -t 10.0.0.10:80 -r 10.0.1.13:8080 -m -w 0
"""

# The users who stay have to be at the server that is well, so the others come later.
_DIRECTOR = f"""\
{table(_RULES)}
n=0
until [ "$(ipvsadm -L -n -c | grep -c ESTABLISHED)" -ge 4 ] || [ $n -ge 50 ]; do n=$((n + 1)); sleep 0.1; done
[ $n -lt 50 ]
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 1
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.13:8080 -m -w 1
"""

_REQUESTS = 9


@exercise(
    group="path",
    number=12,
    minutes=20,
    mode="nat",
    lab={"servers": 3},
    table=False,
    prepare={
        "director": _DIRECTOR,
        "client": background("users-who-stay.bash", "users-who-come.bash"),
        "rs2": "iptables-legacy -A INPUT -p tcp --dport 8080 -j DROP\n",
        "rs3": "kill -STOP $(cat /mnt/nginx.pid)\n",
    },
    fails="every request is answered",
    hints=[
        (
            "Active connections are those that stand, not those that fail. Users who are content stay. Look"
            " at the states, not at the numbers."
        ),
        (
            "Count states for each server: who has entries that never get beyond SYN_RECV? Who has only"
            " CLOSE_WAIT, and never a TIME_WAIT?"
        ),
        (
            "To rs2, tcpdump shows SYN after SYN and nothing that comes back. rs3 answers with [S.] and [.],"
            " but never with data [P.]: the kernel lives, the web server does not."
        ),
        "`ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 0`, and the same for 10.0.1.13.",
    ],
    solution={
        "director": (
            """\
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 0
ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.13:8080 -m -w 0
"""
        )
    },
)
def check(exam: Exam) -> None:
    servers = set()
    for number in range(1, _REQUESTS + 1):
        reply = ask(exam, timeout=1.0)
        if not (reply and reply.server):
            exam.must(
                "every request is answered",
                False,
                "",
                f"request {number} of {_REQUESTS} to {exam.vip}:80 got no answer",
            )
        servers.add(reply.server if reply else "")
    exam.must(
        "every request is answered",
        True,
        f"{_REQUESTS} of {_REQUESTS} requests to {exam.vip}:80 were answered",
        "",
    )
    exam.must(
        "who is well serves",
        "rs1" in servers,
        f"answers came from {', '.join(sorted(servers))}",
        f"answers came from {', '.join(sorted(servers))} alone; another server is well, too",
    )
