"""Dumps of ten situations that were reported in public, and changes that mend or worsen them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from lvslab.doctor.dump import Given, of_texts
from lvslab.doctor.evidence import Evidence

DUMPS = Path(__file__).parent / "data" / "dumps"


@cache
def text(file: str) -> str:
    return (DUMPS / file).read_text()


def changed(file: str, *changes: tuple[str, str]) -> Evidence:
    """What a dump says after its text has been changed."""
    content = text(file)
    for old, new in changes:
        assert old in content, f"{file} has no '{old}'"
        content = content.replace(old, new)
    return of_texts([Given(file, content)])


SHOP = ("03-shop.after.conf", "03-shop.ipvsadm")
"""A file and a table of one machine."""

CASES = {
    "01: a packet that goes round among directors": (
        "01-control-plane.txt",
        ["scheduled-twice certain"],
    ),
    "04: an empty backup that is right": ("04-mail-pair.txt", []),
    "05: FTP data without the mark": ("05-ftp-two-boxes.txt", ["ftp-data-unmarked certain"]),
    "06: datagrams to a deleted server": ("06-syslog.txt", ["deleted-server-swallows certain"]),
    "07: a drained server on a kernel before 5.16": ("07-drained-pod.txt", ["reused-port-pinned likely"]),
    "09: two marks, one mark without a service, one server in two pools": (
        "09-ingress.txt",
        ["mark-set-twice certain", "mark-without-service likely", "server-in-two-pools likely"],
    ),
    "11: IPv6 in IPv4, healthy": ("11-six-in-four.txt", []),
    "12: an endpoint that left the file": (
        "12-ingress.txt",
        ["server-not-in-file certain", "server-silent likely"],
    ),
    "14: a fallback that can never answer": ("14-ldirectord.cf", ["masquerade-to-loopback certain"]),
}
"""Dump → findings."""

_EACH_DAEMON = "ipvsadm -Ln --daemon\n"
_BACKUP = f"{_EACH_DAEMON}backup sync daemon (mcast=ens3, syncid=1)\n"
_SIT = "4: sit0@NONE: <NOARP,UP,LOWER_UP>"
_OWN = "-a -u 192.0.2.14:514 -r 198.51.100.22:514 -m -w 1\n"
_SYNC = "global_defs {\n    lvs_sync_daemon eth1 VI_1\n}\n"
_KUBE = (
    "2: eth0: <UP,LOWER_UP> mtu 1500\n    inet 192.0.2.10/24 scope global eth0\n"
    "3: kube-ipvs0: <BROADCAST,NOARP> mtu 1500\n    inet 10.96.0.1/32 scope global kube-ipvs0\n"
)
_PINNED = ["reused-port-pinned likely"]
_THIRD = (
    "root@mx-lb3:~# ipvsadm -Sn\n-A -t 192.0.2.25:25 -s wlc\n-a -t 192.0.2.25:25 -r 192.0.2.61:25 -g -w 1\n"
    "root@mx-lb3:~# ipvsadm -L --daemon\n"
)
_STALE = "-a -t 192.0.2.10:{} -r 198.51.100.6:{} -m -w 1\n"
_PASSIVE = "-d 192.0.2.72/32 -p tcp -m tcp --dport 21 "
REVERSE = {
    "01: backup_only, and backup daemons": (
        "01-control-plane.txt",
        [("backup_only = 0", "backup_only = 1"), (_EACH_DAEMON, _BACKUP)],
        ["sync-off certain"],
    ),
    "01: backup_only without a daemon": (
        "01-control-plane.txt",
        [("backup_only = 0", "backup_only = 1")],
        ["scheduled-twice certain"],
    ),
    "01: by masquerading, packets are addressed anew": (
        "01-control-plane.txt",
        [(":6443 -g", ":6443 -m")],
        [],
    ),
    "01: of IPv6": (
        "01-control-plane.txt",
        [
            ("192.0.2.100:6443", "[2001:db8::100]:6443"),
            ("inet 192.0.2.100/32", "inet6 2001:db8::100/128"),
            *((f"192.0.2.{n}:6443", f"[2001:db8::{n}]:6443") for n in (21, 22, 23)),
            *((f"inet 192.0.2.{n}/24", f"inet6 2001:db8::{n}/64") for n in (21, 22, 23)),
        ],
        ["scheduled-twice certain"],
    ),
    "04: the backup has another syncid": (
        "04-mail-pair.txt",
        [("backup sync daemon (mcast=eth1, syncid=12", "backup sync daemon (mcast=eth1, syncid=13")],
        ["sync-mismatch certain"],
    ),
    "04: no daemon at the backup": (
        "04-mail-pair.txt",
        [("backup sync daemon (mcast=eth1, syncid=12, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)", "")],
        ["sync-off certain"],
    ),
    "05: both addresses have their range": (
        "05-ftp-two-boxes.txt",
        [(_PASSIVE, "-d 192.0.2.72/32 -p tcp -m multiport --dports 21,40000:40199 ")],
        [],
    ),
    "05: no range anywhere": (
        "05-ftp-two-boxes.txt",
        [("--dport 40000:40199", "--dport 22")],
        ["ftp-data-unmarked likely"],
    ),
    "05: rules that mark the other box's packets, too": (
        "05-ftp-two-boxes.txt",
        [("-m mac ! --mac-source 52:54:00:00:02:11 ", "")],
        ["ftp-data-unmarked certain", "scheduled-twice certain"],
    ),
    "06: entries of deleted servers expire": ("06-syslog.txt", [("nodest_conn = 0", "nodest_conn = 1")], []),
    "06: drained instead": (
        "06-syslog.txt",
        [
            (
                "-r 198.51.100.22:514 -m -w 1\n",
                "-r 198.51.100.22:514 -m -w 1\n-a -u 192.0.2.14:514 -r 198.51.100.21:514 -m -w 0\n",
            )
        ],
        ["udp-keeps-drained likely"],
    ),
    "06: of IPv6, by TCP": (
        "06-syslog.txt",
        [
            ("UDP 04:59  UDP ", "TCP 14:59  ESTABLISHED "),
            ("-u 192.0.2.14", "-t 192.0.2.14"),
            ("192.0.2.14:514", "[2001:db8::14]:514"),
            ("198.51.100.22:514", "[2001:db8::22]:514"),
        ],
        ["deleted-server-swallows certain"],
    ),
    "07: since 5.16 it is scheduled anew": ("07-drained-pod.txt", [("5.14.0-427.el9", "6.1.0-21")], []),
    "07: without expire_nodest_conn on any kernel": (
        "07-drained-pod.txt",
        [("5.14.0-427.el9", "6.1.0-21"), ("nodest_conn = 1", "nodest_conn = 0")],
        ["reused-port-pinned certain"],
    ),
    "07: with conn_reuse_mode 1": ("07-drained-pod.txt", [("reuse_mode = 0", "reuse_mode = 1")], []),
    "07: before 5.9": ("07-drained-pod.txt", [("5.14.0-427.el9", "4.18.0-553.el8")], _PINNED),
    "04: a third director that hears nothing": (
        "04-mail-pair.txt",
        [("root@mx-lb1:~# ipvsadm -Sn", f"{_THIRD}root@mx-lb1:~# ipvsadm -Sn")],
        ["sync-off certain"],
    ),
    "04: a third director of another group": (
        "04-mail-pair.txt",
        [("root@mx-lb1:~# ipvsadm -Sn", f"{_THIRD.replace('25:25', '26:25')}root@mx-lb1:~# ipvsadm -Sn")],
        [],
    ),
    "12: by SCTP, and only the director": (
        "12-ingress.txt",
        [
            ("TCP ", "SCTP "),
            ("-t 192", "--sctp-service 192"),
            ("SYN_RECV ", "INIT1 "),
            ("protocol TCP", "protocol SCTP"),
        ],
        ["server-not-in-file certain", "server-silent likely"],
    ),
    "09: one rule a port, and no strangers": (
        "09-ingress.txt",
        [
            ("-A PREROUTING -p tcp -m tcp --dport 8080 -j MARK --set-xmark 0x105/0xffffffff\n", ""),
            ("-A PREROUTING -p tcp -m tcp --dport 9100 -j MARK --set-xmark 0x12f/0xffffffff\n", ""),
            ("FWM  261 rr\n", ""),
            ("  -> 10.0.0.42:0                  Masq    1      0          0\nFWM  290", "FWM  290"),
        ],
        [],
    ),
    "09: no rule for a service": (
        "09-ingress.txt",
        [("0x122/0xffffffff", "0x105/0xffffffff")],
        [
            "mark-not-set certain",
            "mark-set-twice certain",
            "mark-without-service likely",
            "server-in-two-pools likely",
        ],
    ),
    "11: nobody unwraps protocol 41": (
        "11-six-in-four.txt",
        [
            (_SIT, "4: dummy0: <BROADCAST,NOARP,UP,LOWER_UP>"),
            ("link/sit 0.0.0.0", "link/ether 0:0:0:0:0:1"),
            ("    sit ip6ip any", "    dummy any"),
        ],
        ["tunnel-down certain"],
    ),
    "11: the server lacks the IPv6 address": (
        "11-six-in-four.txt",
        [("ttl 64\n    inet6 2001:db8::80/128 scope global\n", "ttl 64\n")],
        ["vip-missing-on-server likely"],
    ),
    "11: the director lacks it": (
        "11-six-in-four.txt",
        [("eth0\n    inet6 2001:db8::80/128 scope global\n", "eth0\n")],
        ["vip-not-local certain"],
    ),
    "12: without the rows": (
        "12-ingress.txt",
        [(_STALE.format(80, 8080), ""), (_STALE.format(443, 8443), "")],
        [],
    ),
    "12: a service that the table lacks": (
        "12-ingress.txt",
        [
            (_STALE.format(80, 8080), ""),
            (_STALE.format(443, 8443), ""),
            ("-A -t 192.0.2.10:80 -s wlc -p 1800\n-a -t 192.0.2.10:80 -r 198.51.100.5:8080 -m -w 1\n", ""),
        ],
        ["service-not-in-table likely"],
    ),
    "14: the fallback by direct routing": (
        "14-ldirectord.cf",
        [("127.0.0.1:ftp masq", "127.0.0.1:ftp")],
        [],
    ),
    "14: UDP and TCP on one port without a protocol": (
        "14-ldirectord.cf",
        [("127.0.0.1:ftp masq", "127.0.0.1:ftp"), ("192.0.2.33:mysql", "192.0.2.80:80")],
        ["duplicate-service certain"],
    ),
    "12: a sync daemon, and a server of the other family": (
        "12-ingress.txt",
        [
            (_STALE.format(80, 8080), ""),
            (_STALE.format(443, 8443), ""),
            ("virtual_server 192.0.2.10 80 {", f"{_SYNC}virtual_server 2001:db8::10 80 {{"),
            ("lvs_method NAT", "lvs_method TUN"),
            ("192.0.2.10:80 ", "[2001:db8::10]:80 "),
            ("real_server 198.51.100.5 8080", "real_server 198.51.100.5 80"),
            ("198.51.100.5:8080 -m", "198.51.100.5:80 -i"),
            ("real_server 198.51.100.5 8443", "real_server 198.51.100.5 443"),
            ("198.51.100.5:8443 -m", "198.51.100.5:443 -i"),
        ],
        ["sync-and-mixed-families certain"],
    ),
    "12: kube-proxy beside keepalived": (
        "12-ingress.txt",
        [
            (_STALE.format(80, 8080), ""),
            (_STALE.format(443, 8443), ""),
            ("root@ing:~# ipvsadm -Lnc", f"root@ing:~# ip a\n{_KUBE}root@ing:~# ipvsadm -Lnc"),
        ],
        ["several-managers likely"],
    ),
}
"""What is said after a change: dump, replacements in its text, faults."""


def every_dump() -> list[Evidence]:
    """All of them, as they are and changed."""
    whole = [of_texts([Given(file, text(file))]) for file, _ in CASES.values()]
    shop = of_texts([Given(file, text(file)) for file in SHOP])
    return [*whole, shop, *(changed(file, *changes) for file, changes, _ in REVERSE.values())]
