"""# SYN proxy

A SYN costs its sender one packet, and director and server memory for a minute. Who sends many,
under false addresses, fills their tables: a SYN flood. With a **SYN proxy** the director answers
each SYN by itself with a *cookie*, a sequence number computed from the packet. Only who sends the
right ACK back, so really is where he says, gets a connection; only then does a server see a SYN.
The kernel's IPVS has no SYN proxy of its own: it is composed of LVS-NAT and netfilter's `SYNPROXY`.

```
    c1  10.0.0.101                            client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1        director: LVS-NAT works already
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080   web servers
```

**Look first.** On rs1 (`lvslab train shell rs1`) `tcpdump -n -i rs1-eth0 tcp port 8080`, and on the
client `curl http://10.0.0.10/` twice: the client's own SYN is the first packet that the server
sees.

**Build it** on the director (`lvslab train shell director`), for port 80 of 10.0.0.10:

1. parameters of the kernel: `net.ipv4.vs.conntrack=1` (netfilter tracks what IPVS balances),
   `net.ipv4.tcp_syncookies=1`, `net.ipv4.tcp_timestamps=1` (cookies carry their options there),
   `net.netfilter.nf_conntrack_tcp_loose=0` (an ACK out of nowhere is INVALID, and no new
   connection)
2. table `raw`, chain `PREROUTING`: SYNs (`--syn`) to the service are not tracked: `-j CT --notrack`
3. chain `INPUT`, same destination: what is `INVALID` or `UNTRACKED` (`-m state --state …`) goes to
   `-j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460`. Those are the TCP options that the
   servers themselves would announce; a wrong one shows as stalls later.
4. chain `INPUT`, last: what is `INVALID` even so is dropped

"SYNPROXY" in `man iptables-extensions` has an example.

**Look again.** The first SYN that rs1 sees now comes after the client's ACK, and the director has
made it in the client's name. `cat /proc/net/stat/synproxy` counts SYNs and valid cookies
(hexadecimal), `iptables -L INPUT -v -n` the packets. The check also sends a small flood.

`lvslab train check` judges; `lvslab train hint` helps.
"""

from ipaddress import ip_address, ip_network

from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.runs.words import plural
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.nodes import examiner
from lvslab.training.packets import must_travel
from lvslab.training.programs import LEGACY_IPTABLES

_FLOOD = 300.0
"""SYNs a second: few enough for any machine, and many more than a table without half-open
connections has entries.
"""


@exercise(
    group="path",
    number=5,
    minutes=25,
    mode="synproxy",
    lab={"without": ["conntrack", "notrack", "synproxy"]},
    prepare={"director": LEGACY_IPTABLES},
    fails="cookies before servers",
    hints=[
        (
            "The way of a SYN: PREROUTING (raw), then tracking, then INPUT, where first the rules and then"
            " IPVS look at it. It must get to SYNPROXY untracked."
        ),
        (
            "If clients are not served any more: the ACK with the cookie belongs to no connection. Only with"
            " nf_conntrack_tcp_loose=0 it is INVALID, and goes to SYNPROXY as well."
        ),
        (
            "If clients are served, but the server's first packet is still the client's SYN: `iptables -t raw"
            " -L -v -n` and `iptables -L INPUT -v -n` show which rule no packet meets."
        ),
        (
            "`iptables -t raw -A PREROUTING -d 10.0.0.10 -p tcp --dport 80 --syn -j CT --notrack`; `iptables"
            " -A INPUT -d 10.0.0.10 -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY"
            " --sack-perm --timestamp --wscale 7 --mss 1460`; `iptables -A INPUT -d 10.0.0.10 -p tcp -m state"
            " --state INVALID -j DROP`; and the four parameters with `sysctl -w`."
        ),
    ],
    solution={
        "director": (
            """\
sysctl -w net.ipv4.vs.conntrack=1 net.ipv4.tcp_syncookies=1 net.ipv4.tcp_timestamps=1 net.netfilter.nf_conntrack_tcp_loose=0
iptables -t raw -A PREROUTING -d 10.0.0.10 -p tcp --dport 80 --syn -j CT --notrack
iptables -A INPUT -d 10.0.0.10 -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460
iptables -A INPUT -d 10.0.0.10 -p tcp -m state --state INVALID -j DROP
"""  # noqa: E501
        )
    },
)
def check(exam: Exam) -> None:
    from lvslab.traffic.flood import syn_flood

    exam.must_share(["rs1", "rs2"])
    must_travel(exam, name="cookies before servers")
    exam.disturb()
    before = _of_floods(exam)  # an earlier check may have left some: they live for a minute
    with syn_flood(exam.lab, examiner(exam.plan).name, _FLOOD):
        answers = exam.get(4)
    entries = len(_of_floods(exam) - before)
    exam.must(
        "a flood costs nothing",
        entries == 0,
        f"after a flood of {_FLOOD:g} SYNs a second the director's table has no entry of it",
        (
            f"a flood of {_FLOOD:g} SYNs a second has left {plural(entries, 'entry', 'entries')} in the"
            " director's table"
        ),
    )
    failed = sum(bool(answer.error) for answer in answers)
    exam.must(
        "served meanwhile",
        not failed,
        f"{len(answers)} of {len(answers)} requests were answered during the flood",
        f"{failed} of {len(answers)} requests failed during the flood",
    )


def _of_floods(exam: Exam) -> set[Endpoint]:
    """Senders of floods that the director has entries for."""
    from lvslab.traffic.flood import SOURCES

    flood = ip_network(SOURCES)
    entries = Ipvsadm(exam.node("director")).list_connections()
    return {each.client for each in entries if ip_address(each.client.address) in flood}
