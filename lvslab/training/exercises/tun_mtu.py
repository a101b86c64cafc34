"""# Small works, large hangs

Pictures are uploaded to this cluster: `PUT /upload/NAME`. The servers stand in another building,
and the director reaches them through IP-in-IP tunnels (LVS-TUN); they answer the clients straight.
Web pages come at once. Small files arrive. Large ones hang:

```
$ head -c 1000 /dev/urandom >small; curl -T small http://10.0.0.10/upload/
$ head -c 100000 /dev/urandom >large; curl -m 5 -T large http://10.0.0.10/upload/
curl: (28) Operation timed out after 5000 milliseconds with 0 bytes received
```

```
    c1 .101    network 10.0.0.0/24
     │
─────┴──────────┬───────────┬─────
               lvs .1       gw .254
         VIP 10.0.0.10      │
─────┬──────────┬───────────┴─────
    rs1 .11    rs2 .12       network 10.0.2.0/24, VIP on tunl0
```

It began when a new firewall policy was rolled out on the director: "ICMP helps attackers; what we
do not use is blocked."

**Goal:** uploads of any size arrive at both servers, through the tunnels.

**How to look.** Try both sizes on the client, and let `tcpdump -n -i lvs-eth0` run on the director.
Which packets come in and do not go out again, and how long are they? An IP packet on this network
may have 1500 bytes (`ip link`); how many are left for what travels in a tunnel? Who has to tell the
client so, and does it? (`iptables -L -n -v` shows the firewall.)

When large files arrive: `lvslab train check`. If you are stuck: `lvslab train hint`.
"""

from lvslab.ipvs.service import PacketForwarding
from lvslab.kernels import guestfiles
from lvslab.training.exam import Exam
from lvslab.training.exercise import exercise
from lvslab.training.nodes import examiner
from lvslab.training.programs import LEGACY_IPTABLES
from lvslab.training.services import RESTART_NGINX

_SMALL, _LARGE = 1_000, 300_000
_SECONDS = 2.0

_UPLOAD = (
    "location /upload/ { dav_methods PUT; create_full_put_path on; root /tmp; client_max_body_size 20m;"
    " add_header Served-By %s always; }"
)
# Without gro the director sees each packet as it was on the wire; merged ones would pass the
# kernel's look at the length.
_POLICY = f"""\
{LEGACY_IPTABLES}ethtool -K lvs-eth0 gro off
modprobe -a iptable_filter
iptables -A OUTPUT -p icmp --icmp-type echo-request -j ACCEPT
iptables -A OUTPUT -p icmp --icmp-type echo-reply -j ACCEPT
iptables -A OUTPUT -p icmp -j DROP
"""


def _accept_uploads(name: str) -> str:
    return f"sed -i 's|location / {{|{_UPLOAD % name}\\n&|' /mnt/nginx.conf\n{RESTART_NGINX}"


@exercise(
    group="repair",
    number=7,
    minutes=20,
    mode="tun",
    prepare={"rs1": _accept_uploads("rs1"), "rs2": _accept_uploads("rs2"), "director": _POLICY},
    fails="large uploads",
    fault="tunnel-mtu",
    hints=[
        (
            "The tunnel puts 20 bytes, one more IP header, in front of each packet. A full packet of 1500"
            " bytes becomes one of 1520, and such a packet does not fit. It must not be cut either: TCP sets"
            " the DF bit (do not fragment)."
        ),
        (
            "So the director drops it and tells the client by ICMP: fragmentation needed, at most 1480 (RFC"
            " 1191). The client would then send smaller packets. It never hears of it."
        ),
        (
            "Three ways out: let this ICMP message pass; or have the servers ask for smaller segments (`ip"
            " route change default … advmss 1440`); or let the director cut packets in spite of DF"
            " (`net.ipv4.vs.pmtu_disc`), which costs time."
        ),
        (
            "On the director: `iptables -I OUTPUT -p icmp --icmp-type fragmentation-needed -j ACCEPT`. Or on"
            " both servers: `ip route change default via 10.0.2.254 advmss 1440`."
        ),
    ],
    solution={"director": "iptables -I OUTPUT -p icmp --icmp-type fragmentation-needed -j ACCEPT"},
)
def check(exam: Exam) -> None:
    answers = exam.must_share(["rs1", "rs2"])
    exam.must_be_balanced(answers, PacketForwarding.TUN)
    client = exam.client
    # Packets of the size that a wire would carry, by a client that has not learned a smaller one
    # from an earlier check.
    client.run(
        f"ethtool -K {examiner(exam.plan).interfaces[0].name} tso off gso off && ip route flush cache"
    ).check(client.name, "ethtool")
    for what, size in (("small", _SMALL), ("large", _LARGE)):
        guestfiles.write(client.directory / what, "\0" * size)
        one = (
            f"curl -sS -o /dev/null -m {_SECONDS} -w '%{{http_code}} %header{{served-by}}\\n' -T {what}"
            f" http://{exam.vip}/upload/"
        )
        done = client.run(f"cd {client.directory}\n{one} &\n{one} &\nwait\n")
        lines = [line.split() for line in done.out.splitlines()]
        served = sorted(words[1] for words in lines if words[0] in ("201", "204"))
        exam.must(
            f"{what} uploads",
            served == ["rs1", "rs2"],
            f"files of {size} bytes arrived at rs1 and rs2",
            f"of 2 files of {size} bytes {len(served)} arrived within {_SECONDS:g} s:"
            f" {(done.err.strip() or 'refused').splitlines()[-1]}",
        )
