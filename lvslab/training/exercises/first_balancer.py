"""# Your first balancer

Two web servers stand behind a director. Clients must not notice: they ask **10.0.0.10**, the
virtual address, and each request is answered by one of the two. The director rewrites addresses on
the way (LVS-NAT), in the kernel: no proxy runs.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   real servers
```

Open a shell on the director, and another one on the client:

    lvslab train shell director
    lvslab train shell client

**What there is.** The kernel's part is the module `ip_vs` (`lsmod | grep ip_vs`); the tool is
`ipvsadm`, from the package `ipvsadm` (already installed). For NAT the director forwards packets
(`sysctl net.ipv4.ip_forward`), and is the servers' default route (`ip route` on rs1).

**Build it.** On the director, with `ipvsadm`:

1. look at the table: `ipvsadm -L -n`. It is empty.
2. add a virtual service: TCP, 10.0.0.10 port 80, scheduler `rr` (round robin):
   `ipvsadm -A -t … -s …`
3. add both real servers to it, port 8080, by NAT (`-m`): `ipvsadm -a -t … -r … -m`

**Try it.** On the client: `curl http://10.0.0.10/` a few times; each answer names the server. The
same by hand: `nc 10.0.0.10 80`, then type `GET / HTTP/1.0` and an empty line.

**Look at it.** `ipvsadm -L -n --stats` counts connections and packets; `ipvsadm -L -n -c` lists the
connections.

**Keep it.** `ipvsadm -S -n > /root/rules` saves the table, `ipvsadm -C` clears it,
`ipvsadm -R < /root/rules` restores it. Do that too, and leave the file there.

When clients are served by both: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.errors import UsageError
from lvslab.ipvs.rules import parse_rules
from lvslab.ipvs.service import PacketForwarding, Protocol
from lvslab.plan.services import HTTP_SERVER_PORT
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise


@exercise(
    group="path",
    number=1,
    minutes=15,
    mode="nat",
    table=False,
    fails="a virtual service",
    hints=[
        (
            "A virtual service is what clients see: the address 10.0.0.10, port 80, and a scheduler. Real"
            " servers are added to it."
        ),
        (
            "`ipvsadm -A` adds a service (capital A), `ipvsadm -a` a server to a service (small a). `-m`"
            " stands for masquerading: NAT."
        ),
        (
            "On the director: `ipvsadm -A -t 10.0.0.10:80 -s rr`, then `ipvsadm -a -t 10.0.0.10:80 -r"
            " 10.0.1.11:8080 -m`; then 10.0.1.12."
        ),
    ],
    solution={
        "director": (
            """\
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.12:8080 -m
ipvsadm -S -n >/root/rules
ipvsadm -C
ipvsadm -R </root/rules
"""
        )
    },
)
def check(exam: Exam) -> None:
    services = [each for each in exam.table() if each.protocol == Protocol.TCP and each.port == 80]
    exam.must(
        "a virtual service",
        bool(services),
        "the director has a virtual service on TCP port 80",
        "the director's table has no virtual service on TCP port 80",
    )
    answers = exam.must_share(["rs1", "rs2"])
    exam.must_be_balanced(answers, PacketForwarding.MASQ)
    exam.must(
        "round robin",
        services[0].scheduler == "rr",
        "its scheduler is round robin",
        f"its scheduler is '{services[0].scheduler}', the task asks for round robin",
    )
    ports = sorted({server.port for service in services for server in service.real_servers})
    exam.must(
        "the servers' port",
        ports == [HTTP_SERVER_PORT],
        f"the servers are asked at port {HTTP_SERVER_PORT}",
        f"the servers are asked at {', '.join(map(str, ports))}; the task says {HTTP_SERVER_PORT}",
    )
    _must_be_kept(exam)


def _must_be_kept(exam: Exam) -> None:
    """The saved table must be the one that is there, whatever the order of its lines."""
    saved = exam.run("director", "cat /root/rules")
    try:
        kept = set(parse_rules(saved.out)) == set(exam.table()) if saved.code == 0 else False
    except UsageError:
        kept = False
    exam.must(
        "the table is kept",
        kept,
        "/root/rules on the director brings back the table that is there",
        "/root/rules on the director is not the table that is there"
        if saved.code == 0
        else "there is no /root/rules on the director",
    )
