"""Labs that are broken in one way, for which no training lab is: what breaks them, what clients do
meanwhile, and who judges whether they are well again.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvslab.lab.lab import Lab
from lvslab.lab.servers import start_nginx
from lvslab.verify.verification import verify

VIP = "10.0.0.10"
OTHER_PORT = 81
_REQUESTS = 6

_DATAGRAMS = """\
import socket, sys
vip, count = sys.argv[1], int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("", 40000))
    sock.settimeout(2)
    senders = set()
    for _ in range(count):
        sock.sendto(b"question", (vip, 5300))
        try:
            data, (address, port) = sock.recvfrom(2048)
            senders.add(f"{address}:{port}")
        except TimeoutError:
            senders.add("nobody")
print(" ".join(sorted(senders)))
"""

_RESET = """\
import socket, struct, sys
with socket.create_connection((sys.argv[1], 80), timeout=5) as sock:
    sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    print(sock.recv(2048).rpartition(b"\\r\\n")[2].decode())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
"""
"""Ends its connection with a reset, so that the director forgets it after 10 s and not 2 minutes
(tcp_timeouts in net/netfilter/ipvs/ip_vs_proto_tcp.c).
"""

_FTP = """\
import socket, sys
name = sys.argv[1].encode() + b"\\n"
listen = lambda port: socket.create_server(("", port))
with listen(21) as control, listen(50000) as data:
    while True:
        with control.accept()[0] as session:
            session.sendall(b"220 here\\r\\n")
            for line in session.makefile():
                word = line.split()[0].upper()
                if word == "RETR":
                    session.sendall(b"150 it comes\\r\\n")
                    with data.accept()[0] as transfer:
                        transfer.sendall(name)
                answers = {"EPSV": "229 (|||50000|)", "RETR": "226 done", "PWD": '257 "/"', "SIZE": "500 no"}
                session.sendall(answers.get(word, "230 go on").encode() + b"\\r\\n")
"""
"""A server of FTP whose only file tells the server's name, by passive connections (RFC 2428)."""


def datagrams(lab: Lab, count: int) -> str:
    """Questions from one port, each after the answer to the last one; from where these came."""
    client = lab.clients[0]
    out, err, code = client.pexec(["python3", "-I", "-S", "-c", _DATAGRAMS, VIP, str(count)])
    assert code == 0, err
    return str(out).strip()


def asked(lab: Lab, port: int = 80, seconds: int = 2) -> list[str]:
    """Requests one after the other, each over a new connection; the server that answered each."""
    command = f"curl -s -m {seconds} http://{VIP}:{port}/ | cut -d ' ' -f 1 | grep . || echo nobody"
    script = f"for n in {' '.join(map(str, range(_REQUESTS)))}; do {command}; done"
    return lab.clients[0].run(script, timeout=60).out.split()


# -- judges: "pass", or why not --------------------------------------------------------------------


def paths(lab: Lab, logs: Path) -> str:
    """Every packet's way is as the mode's contract says."""
    (logs / "captures").mkdir()
    outcome = verify(lab, logs)
    return "pass" if outcome.verdict == "pass" else outcome.reason


def serves(port: int) -> Callable[[Lab, Path], str]:
    """Every request to a port of the virtual address is answered."""

    def judge(lab: Lab, logs: Path) -> str:
        servers = asked(lab, port)
        return "pass" if len(servers) == _REQUESTS and "nobody" not in servers else f"answered by {servers}"

    return judge


def shares(port: int, **wanted: int) -> Callable[[Lab, Path], str]:
    """Each server answers so many of the requests to a port of the virtual address."""

    def judge(lab: Lab, logs: Path) -> str:
        servers = Counter(asked(lab, port))
        return "pass" if servers == wanted else f"answered by {dict(servers)}"

    return judge


def own_application(lab: Lab, logs: Path) -> str:
    """Port 80 is answered by the first server alone, port 8080 by the second."""
    servers = [set(asked(lab, port)) for port in (80, 8080)]
    return "pass" if servers == [{"rs1"}, {"rs2"}] else f"answered by {servers}"


def transfers(lab: Lab, logs: Path) -> str:
    """Files come by FTP."""
    command = f"for n in 1 2 3; do curl -s -m 5 ftp://{VIP}/name || echo nobody; done"
    servers = lab.clients[0].run(command, timeout=30).out.split()
    return "pass" if len(servers) == 3 and "nobody" not in servers else f"answered by {servers}"


def answers_datagrams(lab: Lab, logs: Path) -> str:
    """Every datagram is answered, by the virtual address."""
    senders = datagrams(lab, 12)
    return "pass" if senders == f"{VIP}:5300" else f"answered by {senders}"


# -- what clients do before the doctor looks -------------------------------------------------------


def nothing(lab: Lab) -> None:
    """No traffic."""


def drained(lab: Lab) -> None:
    """A sender stays at the server that is to run empty; the doctor looks at once, when the kernel
    does not show its last datagrams yet.
    """
    datagrams(lab, 12)
    shown = lab.director.run("ipvsadm -L -n -c").out
    server = re.search(r"UDP .* (10\.0\.1\.\d+):5301", shown)
    assert server, shown
    command = f"ipvsadm -e -u {VIP}:5300 -r {server[1]}:5301 -m -w 0"
    lab.director.run(command).check("lvs", command)
    datagrams(lab, 12)


def tracked_to_the_last(lab: Lab) -> None:
    """As many connections as may be tracked."""
    command = f"curl -s -H 'Connection: close' 'http://{VIP}/?[1-60]' >/dev/null"
    lab.clients[0].run(command).check("c1", command)
    limit = "sysctl -w net.netfilter.nf_conntrack_max=$(cat /proc/sys/net/netfilter/nf_conntrack_count)"
    lab.director.run(limit).check("lvs", limit)


def unanswered(lab: Lab) -> None:
    """Connections that stay half open, until the director knows that its neighbour is gone."""
    command = "ip neigh flush dev lvs-eth1"
    lab.director.run(command).check("lvs", command)
    assert "nobody" in asked(lab, seconds=1)


def forgotten_on_the_way_back(lab: Lab) -> None:
    """A server answers a client, whom the service then remembers, and then no more."""
    out, err, code = lab.clients[0].pexec(["python3", "-I", "-S", "-c", _RESET, VIP])
    assert code == 0, err
    name, gone = (
        str(out).split()[0],
        'until ! ipvsadm -L -n -c | grep ":[1-9][0-9]* *10.0.0.10:80 "; do :; done',
    )
    lab.director.run(gone).check("lvs", gone)
    command = "ip route add blackhole 10.0.0.0/24"
    lab.node(name).run(command).check(name, command)
    assert set(asked(lab, seconds=1)) == {"nobody"}


def half_open(lab: Lab) -> None:
    """Connections to a server that does not take them stay half open."""
    assert "nobody" in asked(lab, seconds=1)


def serves_itself(lab: Lab) -> None:
    """The other director is a real server, too."""
    start_nginx(lab.node("lvs2"))


@dataclass(frozen=True)
class Fault:
    """A lab that is broken by leaving out steps, by commands on nodes, or by what happens in it.

    Attributes:
        commands: node → script.
        happens: traffic, or more that breaks; the doctor watches.
        reads: the nodes that the doctor can read; none: all.
        printed: the doctor gets what its script prints on each machine, and so the files there.
        known: what a fix leaves to the administrator, as the doctor writes it → what it is here.
        acts: pattern of a whole line of a fix that is no command → the command that does it.
        judge: says "pass" of a lab that is well.
        shows: the judge is asked before the fix, too, and must not say so.
    """

    name: str
    mode: str
    without: tuple[str, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    happens: Callable[[Lab], object] = nothing
    reads: tuple[str, ...] = ()
    printed: bool = False
    known: Mapping[str, str] = field(default_factory=dict)
    acts: Mapping[str, str] = field(default_factory=dict)
    judge: Callable[[Lab, Path], str] = paths
    shows: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def _marking(port: int, mark: int) -> str:
    return (
        f"iptables-legacy -t mangle -A PREROUTING -d {VIP}/32 -p tcp -m tcp --dport {port}"
        f" -j MARK --set-mark {mark}\n"
    )


_MARKED = "ipvsadm -A -f 1 -s rr\nipvsadm -a -f 1 -r 10.0.1.11:8080 -m\n"
_FTP_SERVER = (
    f"setsid python3 -I -S -c {shlex.quote(_FTP)} @ >/dev/null 2>&1 </dev/null &\n"
    "until grep -q ':0015 00000000:0000 0A' /proc/net/tcp; do sleep 0.1; done\n"
)
_FTP_ON_A_MARK = (
    "ipvsadm -C\nipvsadm -A -f 1 -s rr\nipvsadm -a -f 1 -r 10.0.0.11 -g\n"
    f"ipvsadm -a -f 1 -r 10.0.0.12 -g\n{_marking(21, 1)}"
)
_TWO_POOLS = (
    "ipvsadm -C\nipvsadm -A -f 1 -s rr\nipvsadm -A -f 2 -s rr\nipvsadm -a -f 1 -r 10.0.0.11 -g\n"
    f"ipvsadm -a -f 1 -r 10.0.0.12 -g\nipvsadm -a -f 2 -r 10.0.0.12 -g\n{_marking(80, 1)}{_marking(8080, 2)}"
)
_QUIET_ADDRESS = (
    "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2\n"
    f"ip address add {VIP}/32 dev lo\n"
)
_WITH_IPTABLES = {"more_needs": ["xt_ipvs"]}
_PAIR = {"directors": 2}

FAULTS = (
    Fault(
        "all-servers-quiescent",
        "nat",
        commands={
            "lvs": "for rip in 10.0.1.11 10.0.1.12; do ipvsadm -e -t 10.0.0.10:80 -r $rip:8080 -m -w 0; done"
        },
    ),
    Fault(
        "no-real-server",
        "nat",
        commands={"lvs": f"ipvsadm -A -t {VIP}:{OTHER_PORT} -s rr"},
        known={"SERVER:PORT": "10.0.1.11:8080"},
        judge=serves(OTHER_PORT),
    ),
    Fault("vip-not-local", "nat", commands={"lvs": "ip address del 10.0.0.10/32 dev lvs-eth0"}),
    Fault(
        "masquerade-to-loopback",
        "nat",
        commands={"lvs": "ipvsadm -A -t 10.0.0.10:81 -s rr\nipvsadm -a -t 10.0.0.10:81 -r 127.0.0.1:81 -m"},
    ),
    Fault(
        "mark-not-set",
        "nat",
        commands={"lvs": _MARKED},
        known={"VIP": VIP, "PORT": str(OTHER_PORT)},
        judge=serves(OTHER_PORT),
        options=_WITH_IPTABLES,
    ),
    Fault(
        "mark-set-twice",
        "nat",
        commands={
            "lvs": f"{_MARKED}ipvsadm -A -f 2 -s rr\n{_marking(OTHER_PORT, 1)}{_marking(OTHER_PORT, 2)}"
        },
        judge=serves(OTHER_PORT),
        options=_WITH_IPTABLES,
    ),
    Fault(
        "mark-without-service",
        "nat",
        commands={"lvs": f"{_MARKED}{_marking(OTHER_PORT, 1)}{_marking(82, 2)}"},
        judge=serves(OTHER_PORT),
        options=_WITH_IPTABLES,
    ),
    Fault(
        "one-packet-nat",
        "nat",
        happens=lambda lab: datagrams(lab, 3),
        judge=answers_datagrams,
        options={"ops": True},
    ),
    Fault("udp-keeps-drained", "nat", happens=drained, judge=answers_datagrams),
    Fault("conntrack-off", "fullnat", commands={"lvs": "sysctl -w net.ipv4.vs.conntrack=0"}),
    Fault("conntrack-full", "fullnat", happens=tracked_to_the_last),
    Fault("local-address-missing", "fullnat", without=("local-addresses",)),
    Fault("syn-proxy-half", "synproxy", without=("notrack",)),
    Fault("syn-proxy-half", "synproxy", without=("synproxy",)),
    Fault("tunnel-down", "tun", commands={"rs1": "ip link set tunl0 down"}),
    Fault("vip-missing-on-server", "dr", commands={"rs1": "ip address del 10.0.0.10/32 dev lo"}),
    Fault(
        "server-unreachable",
        "nat",
        commands={"rs1": "ip link set rs1-eth0 down"},
        happens=unanswered,
        reads=("lvs",),
        judge=serves(80),
    ),
    Fault(
        "server-silent",
        "nat",
        happens=forgotten_on_the_way_back,
        reads=("lvs",),
        judge=serves(80),
        options={"persistence": 300},
    ),
    Fault(
        "server-silent",
        "dr",
        commands={"rs1": "ip address del 10.0.0.10/32 dev lo"},
        happens=half_open,
        reads=("lvs",),
    ),
    Fault(
        "vip-held-by-none",
        "dr",
        commands=dict.fromkeys(
            ("lvs1", "lvs2"),
            "pkill -x keepalived; while pgrep -x keepalived >/dev/null; do sleep 0.1; done",
        ),
        options=_PAIR,
    ),
    Fault(
        "vip-held-twice",
        "dr",
        commands={"lvs2": "ip address add 10.0.0.10/32 dev lvs2-eth0"},
        options=_PAIR,
    ),
    Fault("sync-off", "dr", commands={"lvs2": "ipvsadm --stop-daemon backup"}, options=_PAIR),
    Fault(
        "no-service",
        "nat",
        commands={"lvs": "ipvsadm -C"},
        known={"VIP:PORT": f"{VIP}:80", "SERVER:PORT": "10.0.1.11:8080"},
        judge=serves(80),
        shows=True,
    ),
    Fault(
        "ftp-data-unmarked",
        "dr",
        commands={
            "lvs": _FTP_ON_A_MARK,
            "rs1": _FTP_SERVER.replace("@", "rs1"),
            "rs2": _FTP_SERVER.replace("@", "rs2"),
        },
        known={"FIRST:LAST": "50000:50009"},
        judge=transfers,
        shows=True,
        options=_WITH_IPTABLES,
    ),
    Fault(
        "server-in-two-pools",
        "dr",
        commands={"lvs": _TWO_POOLS},
        judge=own_application,
        shows=True,
        options=_WITH_IPTABLES,
    ),
    Fault(
        "scheduled-twice",
        "dr",
        commands={"lvs1": f"ipvsadm -a -t {VIP}:80 -r 10.0.0.2:80 -g", "lvs2": _QUIET_ADDRESS},
        happens=serves_itself,
        judge=shares(80, rs1=2, rs2=2, lvs2=2),
        shows=True,
        options=_PAIR,
    ),
)
