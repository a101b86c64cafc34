"""# The cure from the internet

The servers of this LVS-DR cluster answered ARP requests for the virtual address, so clients went
past the director. Somebody looked for a cure, found one in a how-to, and rolled it out. The file is
`/etc/sysctl.d/lvs.conf` on both servers:

```
net.ipv4.conf.lo.arp_ignore = 1
net.ipv4.conf.lo.arp_announce = 2
```

It is loaded, `sysctl` shows the values, and nothing has changed: clients still go past the
director.

```
    c1 .101              network 10.0.0.0/24
     │
─────┴───┬─────────┬─────────┬─────
        lvs .1    rs1 .11   rs2 .12
 VIP 10.0.0.10    VIP on lo  VIP on lo
```

**Goal:** all requests to 10.0.0.10 port 80 go through the director, which shares them out between
rs1 and rs2, by direct routing. Repair the cure (`/etc/sysctl.d/lvs.conf` too, if you like) and find
out why it could not work.

**How to look.** `busybox arping -b -c 2 -I c1-eth0 10.0.0.10` on the client shows who answers;
`tcpdump -n -e arp` on a server shows on which interface a request for 10.0.0.10 comes in.
`sysctl -a -r 'arp_(ignore|announce)'` on a server shows all there is to set.

When the director has its clients back: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.packets import must_travel
from lvslab.training.probes import must_answer_arp_alone

_HOW_TO = """\
mkdir -p /etc/sysctl.d
printf '%s\\n' 'net.ipv4.conf.lo.arp_ignore = 1' 'net.ipv4.conf.lo.arp_announce = 2' >/etc/sysctl.d/lvs.conf
sysctl -q -p /etc/sysctl.d/lvs.conf
"""
_CURE = """\
sed -i 's/conf.lo/conf.all/' /etc/sysctl.d/lvs.conf
sysctl -p /etc/sysctl.d/lvs.conf
"""


@exercise(
    group="repair",
    number=5,
    minutes=10,
    mode="dr",
    lab={"without": ["arp"]},
    prepare={"rs1": _HOW_TO, "rs2": _HOW_TO},
    fails="who answers ARP",
    fault="arp-flux",
    hints=[
        (
            "The how-to thinks: the address is on `lo`, so `lo` must be told to keep quiet. But which"
            " interface does the ARP request reach?"
        ),
        (
            "The kernel's documentation of `arp_ignore` says: the larger one of the values of `all` and of"
            " the interface *on which the request was received* is used. No ARP request is ever received on"
            " `lo`."
        ),
        "So the values belong to `all`, or to rs1-eth0 and rs2-eth0.",
        (
            "On both servers: `sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2`;"
            " then `ip neigh flush all` on the client."
        ),
    ],
    solution={"rs1": _CURE, "rs2": _CURE, "client": "ip neigh flush all"},
)
def check(exam: Exam) -> None:
    must_answer_arp_alone(exam)
    exam.must_share(["rs1", "rs2"])
    must_travel(exam)
