"""# One server does all the work

Thousands of sensors report by CoAP (RFC 7252: UDP, port 5683) to 10.0.0.10, several messages a
second each. Two servers share them, by round robin and direct routing. A gateway of 3,000 sensors
was added, and the whole of its traffic lands on one server:

```
$ for i in 1 2 3 4; do coap-client-notls -p 5683 coap://10.0.0.10/name; done
rs1
rs1
rs1
rs1
```

(`-p 5683` makes the client send from port 5683, as the gateway does.) When that server was taken
out of service for an update, the gateway went on talking to it, and nobody answered.

```
    c1 .101  the gateway     network 10.0.0.0/24
     │
─────┴───┬─────────┬─────────┬─────
        lvs .1    rs1 .11   rs2 .12     CoAP servers, VIP on lo
 VIP 10.0.0.10
```

**Goal:** the messages of a client that always sends from the same port are shared out, one by one,
between rs1 and rs2.

**How to look.** Let the client send with and without `-p 5683`, then look at `ipvsadm -L -n -c` on
the director. What is a connection of a protocol that has none, and when does it end?
(`ipvsadm -L -n --timeout`; the last number, normally 300 seconds, is 5 in this lab.)

When the load is shared: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

import random
import socket
import struct

from lvslab.host import linux
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.services import table

_PORT, _MESSAGES, _SECONDS = 5683, 12, 1.0

_SERVER = """\
setsid coap-server-notls -d 10 >/var/log/coap.log 2>&1 &
until ss -lunH sport = :5683 | grep -q .; do sleep 0.02; done
coap-client-notls -m put -e {name} coap://127.0.0.1/name
"""
_TABLE = "ipvsadm --set 0 0 5\n" + table("""
-A -u 10.0.0.10:5683 -s rr
-a -u 10.0.0.10:5683 -r 10.0.0.11:5683 -g
-a -u 10.0.0.10:5683 -r 10.0.0.12:5683 -g
""")


@exercise(
    group="repair",
    number=10,
    minutes=10,
    mode="dr",
    table=False,
    prepare={"rs1": _SERVER.format(name="rs1"), "rs2": _SERVER.format(name="rs2"), "director": _TABLE},
    fails="who serves",
    fault="udp-sticks",
    hints=[
        (
            "For IPVS a UDP connection is a pair of addresses and ports. Whatever comes from 10.0.0.101 port"
            " 5683 belongs to the connection that is there already, and goes where its first datagram went."
            " The scheduler is asked for new connections only."
        ),
        (
            "Each datagram starts the timeout anew, so an entry for a client that sends all the time lives"
            " for ever, even when its server is gone."
        ),
        (
            "The scheduler must be asked for each datagram. ipvsadm(8) has an option of the virtual service"
            " for that: one-packet scheduling."
        ),
        (
            "On the director: `ipvsadm -E -u 10.0.0.10:5683 -s rr --ops`. Entries that are there already go"
            " on until they expire."
        ),
    ],
    solution={"director": "ipvsadm -E -u 10.0.0.10:5683 -s rr --ops"},
)
def check(exam: Exam) -> None:
    # not one that the director remembers from an earlier check
    source = random.randrange(20000, 60000)
    names = _ask(exam, source)
    exam.must(
        "messages are answered",
        len(names) == _MESSAGES,
        f"{_MESSAGES} of {_MESSAGES} messages from port {source} were answered",
        f"message {len(names) + 1} from port {source} was not answered within {_SECONDS:g} s",
    )
    share = {name: names.count(name) for name in sorted(set(names))}
    shown = ", ".join(f"{name} {count}" for name, count in share.items())
    exam.must(
        "who serves",
        set(share) == {"rs1", "rs2"} and max(share.values()) <= 2 * min(share.values()),
        f"messages from one port are shared out: {shown}",
        f"messages from one port are not shared out: {shown}",
    )


def _ask(exam: Exam, source: int) -> list[str]:
    """Ask for /name again and again from one port; what the servers said, up to the first
    silence.
    """
    with linux.network_of(exam.client.pid):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names: list[str] = []
    with sock:
        sock.bind(("", source))
        sock.connect((exam.vip, _PORT))
        sock.settimeout(_SECONDS)
        for number in range(1, _MESSAGES + 1):
            # RFC 7252, 3: version 1, confirmable, no token; code 0.01 GET; message ID; option 11
            # (Uri-Path) of 4 bytes
            sock.send(struct.pack("!BBHB", 0x40, 0x01, number, 0xB4) + b"name")
            try:
                names.append(sock.recv(2048).partition(b"\xff")[2].decode(errors="replace"))
            except OSError:  # silence, or an ICMP error
                break
    return names
