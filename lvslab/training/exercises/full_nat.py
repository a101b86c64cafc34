"""# FullNAT

NAT needs the servers' default route, DR their network, TUN their kernel. **FullNAT** needs nothing
of the servers: the director rewrites the destination *and the source* of each packet. Servers see
an address of the director, and answer to it; where the clients are, they need not know. The
kernel's IPVS has no FullNAT of its own: it is composed of LVS-NAT and netfilter's source NAT.

```
    c1  10.0.0.101                                   client
     │
    lvs 10.0.0.1, 10.0.0.10 │ 10.0.1.1               director; local addresses: 10.0.1.201, 10.0.1.202
     │
    rs1 10.0.1.11:8080   rs2 10.0.1.12:8080          web servers, without any default route
```

**Build it** on the director (`lvslab train shell director`); its table is empty, `ip_forward` is
on.

1. the virtual service on 10.0.0.10 port 80 (round robin), both servers in it by NAT (`-m`), port
   8080. Try `curl -m 2 http://10.0.0.10/` on the client, and `tcpdump -n -i lvs-eth1` on the
         director: what does a server do with a packet from 10.0.0.101?
2. a *pool of local addresses* on the servers' side: 10.0.1.201 and 10.0.1.202, both /24 on lvs-eth1
3. IPVS must let netfilter track its connections: `sysctl -w net.ipv4.vs.conntrack=1`
4. a rule in the table `nat`, chain `POSTROUTING`, for packets that IPVS balances:
   `iptables -t nat -A POSTROUTING -m ipvs --vaddr … --vport … -j SNAT --to-source …`. SNAT takes a
   range of addresses, `FIRST-LAST`. See "ipvs" and "SNAT" in `man iptables-extensions`.

**Look at it.** Each answer shows the client that the server saw. `ipvsadm -L -n -c` still knows the
real client. `iptables -t nat -L -v -n` counts connections. What is lost: the servers' log files
know only the director. (Where that matters, a protocol of its own carries the address.)

When clients are served by both, and both local addresses are in use: `lvslab train check`. If you
are stuck: `lvslab train hint`.
"""  # noqa: W505

from lvslab.training.clients import ask, take_addresses
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel
from lvslab.training.programs import LEGACY_IPTABLES

_CLIENTS = 8
"""netfilter chooses the local address by a hash of client and server, so several clients are needed
to see the whole pool.
"""


@exercise(
    group="path",
    number=4,
    minutes=20,
    mode="fullnat",
    lab={"without": ["local-addresses", "conntrack", "snat"]},
    table=False,
    prepare={"director": LEGACY_IPTABLES},
    fails="clients are served",
    hints=[
        (
            "A server has no route to 10.0.0.101, so it cannot answer. It could answer 10.0.1.201, which is"
            " in its own network."
        ),
        (
            "Without `net.ipv4.vs.conntrack=1` netfilter never sees a whole connection of IPVS, and the rule"
            " has no effect, without any message."
        ),
        (
            "The rule matches the packet as the client meant it: `--vproto tcp --vaddr 10.0.0.10 --vport 80`."
            " `-j SNAT --to-source 10.0.1.201-10.0.1.202` says what the servers shall see."
        ),
        (
            "`ip address add 10.0.1.201/24 dev lvs-eth1`, the same for .202; `sysctl -w"
            " net.ipv4.vs.conntrack=1`; `iptables -t nat -A POSTROUTING -m ipvs --vproto tcp --vaddr"
            " 10.0.0.10 --vport 80 -j SNAT --to-source 10.0.1.201-10.0.1.202`"
        ),
    ],
    solution={
        "director": (
            """\
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.12:8080 -m
ip address add 10.0.1.201/24 dev lvs-eth1
ip address add 10.0.1.202/24 dev lvs-eth1
sysctl -w net.ipv4.vs.conntrack=1
iptables -t nat -A POSTROUTING -m ipvs --vproto tcp --vaddr 10.0.0.10 --vport 80 -j SNAT --to-source 10.0.1.201-10.0.1.202
"""  # noqa: E501
        )
    },
)
def check(exam: Exam) -> None:
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
    replies = [ask(exam, source=(address, 0)) for address in take_addresses(exam, _CLIENTS)]
    seen = sorted({reply.text.split()[1] for reply in replies if reply and reply.server})
    pool = sorted(exam.plan.addresses.lips)
    exam.must(
        "the whole pool",
        seen == pool,
        f"{_CLIENTS} clients came to the servers from {', '.join(seen)}",
        f"{_CLIENTS} clients came to the servers from {', '.join(seen) or 'nowhere'}; the pool is"
        f" {', '.join(pool)}",
    )
