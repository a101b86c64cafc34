"""# Some reconnects are slow

rs1 is to be repaired. Its weight was set to 0, and since its last users have left, a backup takes
all its strength: it is very slow now. Nobody should notice. Most users do not. But the users of one
office say that some of their connections are slow, again and again, for hours.

```
    c1  10.0.0.101                            the office's router: all users share its address, and its 8 ports
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: LVS-NAT, rs1 has weight 0
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers; rs1 is slow
```

(A real router has thousands of ports, and a busy office uses them all within a minute or two. Here
there are 8: 40000 to 40007.)

**What users say.** "Sometimes the page comes at once, and sometimes I can watch it. The more we
are, the worse it gets."

**Look.** On the client (`lvslab train shell client`) several times:

    curl -s -H 'Connection: close' -w '%{local_port}: connected after %{time_connect} s, done after %{time_total} s\\n' http://10.0.0.10/

Which server was it, and from which port? On the director (`lvslab train shell director`):
`ipvsadm -L -n` and `ipvsadm -L -n -c`. Look for the port, and at the state of its entry, before and
after such a request.

**Goal.** A new connection never goes to a server whose weight is 0, whatever port it comes from.
rs1 stays in the table with weight 0, as somebody may still be there. The check drains a server by
itself to see, and puts it back.

`lvslab train check` judges; `lvslab train hint` helps.
"""  # noqa: E501, W505

import random

from lvslab.training import drill
from lvslab.training.clients import Reply, ask, take_addresses
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.programs import sysctls, wait_for

_PORTS = range(20_000, 39_000)


@exercise(
    group="repair",
    number=21,
    minutes=15,
    mode="nat",
    lab={"sysctls": {"net.ipv4.vs.conn_reuse_mode": 0}},
    prepare={
        "client": (
            sysctls({"net.ipv4.ip_local_port_range": "40000 40007", "net.ipv4.tcp_tw_reuse": 1})
            + """\
for port in 40000 40001 40003 40002 40004 40005 40007 40006; do  # odd and even ones for either server
    curl -s -m 5 --local-port $port -H 'Connection: close' http://10.0.0.10/
done
"""
        ),
        "director": (
            wait_for("[ $(ipvsadm -L -n -c | grep -c TIME_WAIT.*10.0.0.101) = 8 ]")
            + "ipvsadm -e -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 0\n"
        ),
        "rs1": (
            wait_for('[ $(awk "/^Tcp:/ { opened = \\$7 } END { print opened }" /proc/net/snmp) -ge 4 ]')
            + "tc qdisc add dev rs1-eth0 root netem delay 150ms\n"
        ),
    },
    hints=[
        (
            "Note port and server of each request: the same ports go to the same server. The director has an"
            " entry for the port's last connection, which is over (TIME_WAIT), but the entry lives for two"
            " minutes more."
        ),
        (
            "A SYN that meets such an entry can be taken for what it is, a new connection, or as belonging to"
            " the old one. There is a switch for that, and somebody has set it to 0: an old advice against"
            " another trouble, from times before Linux 5.9."
        ),
        (
            "See `sysctl net.ipv4.vs` on the director: `conn_reuse_mode`, and"
            " Documentation/networking/ipvs-sysctl.rst: 1 is the kernel's default."
        ),
        "On the director: `sysctl -w net.ipv4.vs.conn_reuse_mode=1`",
    ],
    solution={"director": "sysctl -w net.ipv4.vs.conn_reuse_mode=1\n"},
    fails="known ports leave it",
    fault="reused-port-pinned",
)
def check(exam: Exam) -> None:
    drill.must_drain(exam, "rs1")
    address = take_addresses(exam, 1)[0]
    ports = random.sample(_PORTS, 3)  # new ones, of which the director knows nothing yet
    with drill.weights(exam, {"rs1": 1, "rs2": 0}):
        before = [_from(exam, address, port) for port in ports]
    with drill.weights(exam, {"rs1": 0, "rs2": 1}):
        after = [_from(exam, address, port) for port in ports]
    exam.must(
        "a drill",
        all(each and each.server == "rs1" for each in before),
        f"the examiner's ports {', '.join(map(str, ports))} had connections to rs1, which ended",
        "with rs1 as the only server, a connection got no answer from it",
    )
    stayed = sum(each is not None and each.server == "rs1" for each in after)
    exam.must(
        "known ports leave it",
        all(each and each.server == "rs2" for each in after),
        "new connections from these ports came to rs2 once rs1 had weight 0",
        (
            f"{stayed} of {len(after)} new connections from these ports came to rs1 although its weight was 0"
            if stayed
            else "new connections from these ports got no answer once rs1 had weight 0"
        ),
    )


def _from(exam: Exam, address: str, port: int) -> Reply | None:
    # on a busy machine a SYN is lost and comes again after 1 s, and after 3 s
    return ask(exam, source=(address, port), timeout=5.0)
