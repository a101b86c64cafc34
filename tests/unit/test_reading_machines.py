"""What people paste of a machine: recognised by content, read as far as it goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.ipvs.rules import format_rules
from lvslab.reading.ipvs import (
    elements,
    read_connections,
    read_counters,
    read_daemons,
    read_ipset,
    read_listing,
    read_timeouts,
)
from lvslab.reading.netfilter import read_iptables, read_nft
from lvslab.reading.network import RoutingRule, read_json, read_network
from lvslab.reading.routing import route_to
from lvslab.reading.sections import Kind, split
from lvslab.reading.sockets import read_idle, read_proc_sockets, read_ss
from lvslab.reading.sysctls import read_sysctls

PASTED = """\
Hello, here is what I see:

[root@lb1 ~]# uname -r
3.10.0-1160.el7.x86_64
[root@lb1 ~]# ipvsadm -Ln
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.0.2.10:80 rr persistent 300 mask 255.255.255.0
  -> 198.51.100.11:8080           Masq    2      3          4
FWM  -2 IPv6 wlc
  -> [2001:db8::11]:0             Route   1      0          0
[root@lb1 ~]# ipvsadm -Ln --stats
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  192.0.2.10:80                     12K      90M       90     5400     5400
  -> 198.51.100.11:8080                  3       30       30     1800     1800
[root@lb1 ~]# cat /proc/sys/net/ipv4/ip_forward
0
root@lb1:/etc# sysctl net.ipv4.vs.sync_threshold
net.ipv4.vs.sync_threshold = 3\t50
root@lb1:/etc# ip a
2: eth0@if7: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc mq state UP
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0
       valid_lft forever preferred_lft forever
3: tunl0@NONE: <NOARP> mtu 1480 qdisc noop state DOWN
    link/ipip 0.0.0.0 brd 0.0.0.0
web7# sudo ip route
default via 198.51.100.1 dev eth0 proto dhcp metric 100
198.51.100.0/24 dev eth0 proto kernel scope link src 198.51.100.11
web7# ip neigh
198.51.100.1 dev eth0 lladdr 02:00:00:00:00:09 REACHABLE
198.51.100.2 dev eth0  FAILED
"""


def kinds(text: str) -> list[tuple[Kind, str]]:
    return [(section.kind, section.machine) for section in split(text)]


def test_prompts_name_machines_and_content_names_parts() -> None:
    assert kinds(PASTED) == [
        (Kind.UNKNOWN, ""),
        (Kind.RELEASE, "lb1"),
        (Kind.LISTING, "lb1"),
        (Kind.STATS, "lb1"),
        (Kind.FILES, "lb1"),
        (Kind.SYSCTLS, "lb1"),
        (Kind.LINKS, "lb1"),
        (Kind.ROUTES, "web7"),
        (Kind.NEIGHBOURS, "web7"),
    ]
    texts = {section.kind: section.text for section in split(PASTED)}
    assert texts[Kind.FILES] == "/proc/sys/net/ipv4/ip_forward:0\n"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("-A -t 10.0.0.1:80 -s rr", Kind.TABLE),
        ("ipvsadm -a -f 7 -r 10.0.0.1 -g", Kind.TABLE),
        ("-A PREROUTING -p tcp -j MARK --set-mark 5", Kind.IPTABLES),
        ("*mangle", Kind.IPTABLES),
        ("TCP 14:58  ESTABLISHED 10.0.9.5:51220 10.0.0.25:25 10.0.0.62:25", Kind.CONNECTIONS),
        ("TCP  10.0.0.1:80 rr", Kind.LISTING),
        ("  -> 10.0.0.2:80 Route 1 0 0", Kind.LISTING),
        ("net.ipv4.ip_forward=1", Kind.SYSCTLS),
        ("0:\tfrom all lookup local", Kind.ROUTING_RULES),
        ("local 10.0.0.1 dev lo table local proto kernel scope host", Kind.ROUTES),
        ("2001:db8::/64 dev eth0 proto kernel metric 256 pref medium", Kind.ROUTES),
        ("fe80::1 dev eth0 lladdr 02:00:00:00:00:01 router STALE", Kind.NEIGHBOURS),
        ("table inet filter {", Kind.RULESET),
        ("create KUBE-CLUSTER-IP hash:ip,port family inet", Kind.SETS),
        ("Chain PREROUTING (policy ACCEPT)", Kind.CHAINS),
        ("vrrp_instance VI_1 {", Kind.KEEPALIVED),
        ("virtual=10.0.0.1:80", Kind.LDIRECTORD),
        ("Linux lb1 5.14.0-427.el9.x86_64 #1 SMP", Kind.RELEASE),
        ("6.1.0-18-amd64", Kind.RELEASE),
        ("LISTEN 0      128    0.0.0.0:80   0.0.0.0:*", Kind.SOCKETS),
        ("Timeout (tcp tcpfin udp): 900 120 300", Kind.TIMEOUTS),
        ("master sync daemon (mcast=eth1, syncid=7)", Kind.DAEMONS),
        ("whatever", Kind.UNKNOWN),
    ],
)
def test_a_single_line_is_recognised(line: str, kind: Kind) -> None:
    assert kinds(line) == [(kind, "")]


def test_a_configuration_keeps_its_lines_together() -> None:
    text = (
        "global_defs {\n  router_id a\n  10.0.0.1 dev eth0\n}\n\n# note\nvirtual_server 10.0.0.1 80\n{\n}\n"
    )
    assert kinds(f"{text}net.ipv4.ip_forward = 1\n") == [(Kind.KEEPALIVED, ""), (Kind.SYSCTLS, "")]


def test_a_listing_with_shortened_numbers() -> None:
    texts = {section.kind: section.text for section in split(PASTED)}
    listing = read_listing(texts[Kind.LISTING])
    assert format_rules(listing.services).splitlines() == [
        "-A -t 192.0.2.10:80 -s rr -p 300 -M 255.255.255.0",
        "-a -t 192.0.2.10:80 -r 198.51.100.11:8080 -m -w 2",
        "-A -f 4294967294 -6 -s wlc",
        "-a -f 4294967294 -6 -r [2001:db8::11]:0 -g -w 1",
    ]
    assert listing.active["TCP 192.0.2.10:80", "198.51.100.11:8080"] == 7
    counters = read_counters(texts[Kind.STATS]).counters["TCP 192.0.2.10:80", ""]
    assert (counters.conns, counters.in_packets) == (12_000, 90_000_000)


def test_a_row_that_is_not_understood_loses_its_servers_only() -> None:
    listing = read_listing(
        "TCP 10.0.0.1:http rr\n  -> 10.0.0.2:80 Masq 1 0 0\nUDP 10.0.0.1:53 rr\n  -> 10.0.0.2:53 Masq 1 0 0\n"
    )
    assert [each.name for each in listing.services] == ["UDP 10.0.0.1:53"]
    assert [each.line for each in listing.unclear] == [1, 2]


def test_rates_connections_timeouts_and_daemons() -> None:
    rates = read_counters(
        "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n"
        "  -> RemoteAddress:Port\nSCTP 10.0.0.1:80   1 2 3 4 5\n"
    ).rates
    assert rates["SCTP 10.0.0.1:80", ""].out_bps == 5
    read = read_connections("TCP 01:57 TIME_WAIT 10.0.0.9:1 10.0.0.1:443 10.0.0.2:8443\nTCP odd\n")
    assert [each.expires for each in read.entries] == [117] and len(read.unclear) == 1
    timeouts = read_timeouts("Timeout (tcp tcpfin udp): 900 120 300\n")
    assert timeouts and timeouts.udp == 300
    (daemon,) = read_daemons("backup sync daemon (mcast=bond0.5, syncid=255, maxlen=1472)\n")
    assert (daemon.role, daemon.link, daemon.syncid) == ("backup", "bond0.5", 255)


def test_links_routes_and_neighbours() -> None:
    text = "".join(
        section.text
        for section in split(PASTED)
        if section.kind in (Kind.LINKS, Kind.ROUTES, Kind.NEIGHBOURS)
    )
    network = read_network(text)
    eth0, tunl0 = network.links
    assert (eth0.name, eth0.mtu, eth0.up, [each.ip for each in eth0.addresses]) == (
        "eth0",
        1450,
        True,
        ["192.0.2.2"],
    )
    assert (tunl0.kind, tunl0.up, tunl0.arp) == ("ipip", False, False)
    assert [(each.destination, each.via, each.metric) for each in network.routes] == [
        ("default", "198.51.100.1", 100),
        ("198.51.100.0/24", "", 0),
    ]
    assert [each.state for each in network.neighbours] == ["REACHABLE", "FAILED"]
    assert network.unclear == ()


ROUTES = """\
default via 10.0.0.1 dev eth0
default via 10.0.0.2 dev eth0 metric 50
10.0.0.0/24 dev eth0 scope link
10.9.0.0/16 nhid 7 proto bgp
\tnexthop via 10.0.0.8 dev eth0 weight 1
\tnexthop via 10.0.0.9 dev eth0 weight 1
unreachable 10.8.0.0/16
default via 10.0.1.1 dev eth1 table 100
local 10.0.0.5 dev lo table local
default via fe80::1 dev eth0 metric 1024
"""


@pytest.mark.parametrize(
    ("source", "destination", "way"),
    [
        ("", "192.0.2.1", "unicast 10.0.0.1"),
        ("10.0.1.5", "192.0.2.1", "unicast 10.0.1.1"),
        ("", "10.0.0.77", "unicast "),
        ("", "10.9.1.1", "unicast 10.0.0.8"),
        ("", "10.8.0.1", "unreachable "),
        ("", "10.0.0.5", "local "),
        ("", "2001:db8::1", "unicast fe80::1"),
    ],
)
def test_the_way_of_a_packet(source: str, destination: str, way: str) -> None:
    rules = (
        *read_network(
            "0: from all lookup local\n100: from 10.0.1.0/24 lookup 100\n"
            "200: from all fwmark 0x5 lookup 100\n300: from all iif eth9 lookup 100\n"
            "32766: from all lookup main\n"
        ).rules,
        RoutingRule(32766, ipv6=True),
    )
    found = route_to(read_network(ROUTES).routes, rules, source, destination)
    assert found and f"{found.kind} {found.via}" == way
    assert {rule.mark for rule in rules} == {0, 5}


def test_no_way() -> None:
    assert route_to(read_network("10.0.0.0/24 dev eth0\n").routes, (), "", "192.0.2.1") is None


def test_parameters_in_three_forms() -> None:
    read = read_sysctls(
        "# mine\nnet.ipv4.vs.sync_threshold = 3\t50\nnet.ipv4.conf.eth0/7.rp_filter=2\n"
        "-net/ipv4/ip_forward = 1\n/proc/sys/net/ipv4/vs/conntrack:1\nsysctl: permission denied\nodd\n"
    )
    assert read.values == {
        "net.ipv4.vs.sync_threshold": "3 50",
        "net.ipv4.conf.eth0.7.rp_filter": "2",
        "net.ipv4.ip_forward": "1",
        "net.ipv4.vs.conntrack": "1",
    }
    assert [each.line for each in read.unclear] == [7]


NFT = """\
table ip lb {
\tset vips {
\t\ttype ipv4_addr
\t\telements = { 192.0.2.10, 192.0.2.11 }
\t}
\tchain early { # handle 1
\t\ttype filter hook prerouting priority mangle; policy accept;
\t\tiifname "eth0" ip daddr @vips tcp dport { 80, 443 } counter packets 1 bytes 2 meta mark set 0x00000005
\t\tether saddr != 02:00:00:00:60:12 tcp dport 30000-30099 mark set 0x15 comment "the other box"
\t\tip daddr . tcp dport vmap @where
\t}
\tchain after {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\toifname != "lo" ip saddr 10.0.0.0/8 masquerade
\t\tip daddr 198.51.100.0/24 snat to 198.51.100.2
\t}
}
"""


def test_nft_in_the_words_of_iptables() -> None:
    rules = read_nft(NFT)
    mark = "-j MARK --set-xmark 0x00000005/0xffffffff"
    assert rules.lines == (
        *(
            f"mangle -A PREROUTING -i eth0 -d {ip} -p tcp --dport {port} {mark}"
            for ip in ("192.0.2.10", "192.0.2.11")
            for port in (80, 443)
        ),
        "mangle -A PREROUTING -m mac ! --mac-source 02:00:00:00:60:12 -p tcp --dport 30000:30099 -j MARK"
        " --set-xmark 0x15/0xffffffff",
        "nft early ip daddr . tcp dport vmap @where",
        "nat -A POSTROUTING ! -o lo -s 10.0.0.0/8 -j MASQUERADE",
        "nat -A POSTROUTING -d 198.51.100.0/24 -j SNAT --to-source 198.51.100.2",
    )
    assert [each.line for each in rules.unclear] == [10]


def test_iptables_with_counters_and_sets_of_kube_proxy() -> None:
    rules = read_iptables(
        "# x\n*nat\n:POSTROUTING ACCEPT [7:8]\n[1:2] -A POSTROUTING -j MASQUERADE\nCOMMIT\n"
    )
    assert rules.lines == ("nat :POSTROUTING ACCEPT", "nat -A POSTROUTING -j MASQUERADE")
    sets, unclear = read_ipset(
        "create KUBE-CLUSTER-IP hash:ip,port family inet\nadd KUBE-CLUSTER-IP 10.96.0.1,tcp:443\n?\n"
    )
    assert list(elements(sets, "KUBE-CLUSTER-IP")) == [("10.96.0.1", "tcp", 443)]
    assert len(unclear) == 1


def test_listening_sockets_of_ss() -> None:
    sockets = read_ss(
        "Netid State  Recv-Q Send-Q Local Address:Port Peer Address:Port\n"
        "udp   UNCONN 0      0      0.0.0.0%lo:53      0.0.0.0:*\n"
        "tcp   LISTEN 0      511    *:80               *:*\n"
        "tcp   ESTAB  0      0      10.0.0.1:80        10.0.0.9:5000\n"
    )
    assert [(each.protocol, str(each.local), each.is_open) for each in sockets] == [
        ("udp", "0.0.0.0:53", True),
        ("tcp", "0.0.0.0:80", True),
        ("tcp", "10.0.0.1:80", False),
    ]


WORDS = st.sampled_from(
    r"""TCP UDP FWM IP -> 10.0.0.1:80 [fd00::1]:80 0A000001:0050 rr Masq Route 1 00:10 ESTABLISHED
    persistent mask pe IPv6 -5 Prot CPS 12K default via dev eth0 nexthop table lookup from not
    fwmark 0x5 1: 2: <UP> inet inet6 10.0.0.1/24 fe80::1%eth0/64 link/ipip lladdr FAILED [{
    "dst": "ifname": }] [] {"flags":[]} table ip { } chain type filter hook prerouting priority
    mangle; tcp dport meta mark set ip daddr @x != snat to counter packets jump set elements =
    *nat :A -A COMMIT Chain create add hash:ip vrrp_instance virtual= net.ipv4.ip_forward
    /proc/net/tcp: /proc/net/ip_vs: LISTEN 0 *:80 cubic lastsnd:5 master sync daemon [root@lb1
    ~]# # ipvsadm -Ln cat /proc/sys/net/ipv4/ip_forward""".split()  # noqa: SIM905
)
TEXTS = st.lists(st.tuples(WORDS | st.text(max_size=6), st.sampled_from((" ", "\n", "\t", "\n    ")))).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)


@given(TEXTS | st.text())
def test_no_text_is_an_error(text: str) -> None:
    split(text)
    for reader in (
        read_listing,
        read_counters,
        read_connections,
        read_daemons,
        read_timeouts,
        read_ipset,
        read_nft,
        read_iptables,
        read_json,
        read_sysctls,
        read_ss,
    ):
        reader(text)
    network = read_network(text)
    route_to(network.routes, network.rules, "10.0.0.1", "10.0.0.2")
    lines = text.splitlines()
    list(read_proc_sockets({"/proc/net/tcp": lines, "/proc/net/udp6": lines}, read_idle(lines)))
