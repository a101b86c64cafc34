"""keepalived.conf, ldirectord.cf and rules as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.ipvs.rules import format_rules
from lvslab.ipvs.service import PacketForwarding
from lvslab.reading.blocks import read_blocks
from lvslab.reading.files import included
from lvslab.reading.keepalived import Keepalived, read_keepalived
from lvslab.reading.ldirectord import Ldirectord, read_ldirectord
from lvslab.reading.rules import read_rules

MAIL = """\
global_defs {
    router_id mail-a            ! of two
    lvs_sync_daemon bond1 MAIL id 9
    lvs_timeouts tcp 1800 udp 60
}
vrrp_instance MAIL
{
    state MASTER
    interface bond0
    virtual_router_id 17
    priority 120
    advert_int 0.5
    nopreempt
    track_interface {
        bond1
    }
    virtual_ipaddress {
        192.0.2.25/26 dev bond0 label bond0:mail
    }
    virtual_ipaddress_excluded {
        2001:db8:9::25/64
    }
    notify_master "/usr/local/sbin/tell master"
}
virtual_server group mail {
    delay_loop 7
    lb_algo wlc
    lb_kind DR
    persistence_timeout
    protocol TCP
    retry 4
    sorry_server 127.0.0.1 25
    real_server 192.0.2.41 2525 {
        weight 3
        inhibit_on_failure
        SMTP_CHECK { connect_port 26
            helo_name "lb # one"
        }
    }
    real_server 192.0.2.42 25 {
        lvs_method TUN type gue port 6080 csum
        uthreshold 500
        HTTP_GET {
            url {
                path /alive
                status_code 200-299 401
                digest 9b3a0c85a887a256d6939da88aabd8cd
            }
            connect_timeout 2.5
        }
    }
}
virtual_server_group mail {
    192.0.2.25-26 25
    fwmark 7
}
"""


def table(read: Keepalived | Ldirectord) -> list[str]:
    """The rules of all pools."""
    return format_rules(service for pool in read.pools for service in pool.services).splitlines()


def doubts(read: Keepalived | Ldirectord) -> list[str]:
    return [str(each) for each in read.unclear]


def test_a_whole_keepalived_conf() -> None:
    read = read_keepalived(MAIL, file="k.conf")
    assert doubts(read) == []
    assert (read.router_id, read.interfaces) == ("mail-a", ("bond0", "bond1"))
    assert read.sync and (read.sync.interface, read.sync.instance, read.sync.syncid) == ("bond1", "MAIL", 9)
    assert read.timeouts == (("tcp", 1800), ("udp", 60))
    (instance,) = read.instances
    assert (instance.router_id, instance.priority, instance.interval) == (17, 120, 0.5)
    assert (instance.state, instance.preempts) == ("MASTER", False)
    assert [(each.ip, each.prefix, each.excluded) for each in instance.addresses] == [
        ("192.0.2.25", 26, False),
        ("2001:db8:9::25", 64, True),
    ]
    assert [(each.purpose, each.owner, each.command) for each in read.scripts] == [
        ("notify_master", "vrrp_instance MAIL", "/usr/local/sbin/tell master")
    ]


def test_the_table_that_a_group_makes() -> None:
    """Ports of DR are the service's, and a mark has none; the group may stand behind its users."""
    gue = "-i -w 1 --tun-type gue --tun-port 6080 --tun-csum -x 500"
    assert table(read_keepalived(MAIL)) == [
        "-A -t 192.0.2.25:25 -s wlc -p 360",
        "-a -t 192.0.2.25:25 -r 192.0.2.41:25 -g -w 3",
        f"-a -t 192.0.2.25:25 -r 192.0.2.42:25 {gue}",
        "-A -t 192.0.2.26:25 -s wlc -p 360",
        "-a -t 192.0.2.26:25 -r 192.0.2.41:25 -g -w 3",
        f"-a -t 192.0.2.26:25 -r 192.0.2.42:25 {gue}",
        "-A -f 7 -s wlc -p 360",
        "-a -f 7 -r 192.0.2.41:0 -g -w 3",
        f"-a -f 7 -r 192.0.2.42:0 {gue}",
    ]


def test_checks_inherit_what_they_do_not_say() -> None:
    (pool,) = read_keepalived(MAIL).pools
    mail, web = (server.checks[0] for server in pool.servers)
    assert (mail.kind, mail.address, mail.port, mail.interval, mail.retries, mail.retry_interval) == (
        "smtp",
        "192.0.2.41",
        26,
        7.0,
        4,
        1.0,
    )
    assert mail.words["helo_name"] == "lb # one"
    assert (web.kind, web.port, web.timeout, web.retry_interval) == ("http", 25, 2.5, 3.0)
    (page,) = web.pages
    assert (page.path, page.status, page.digest[:4]) == ("/alive", ("200-299", "401"), "9b3a")
    assert [server.inhibits for server in pool.servers] == [True, False]
    assert pool.sorry and (pool.sorry.name, pool.sorry.forwarding) == ("127.0.0.1:25", PacketForwarding.DR)


CONDITIONAL = """\
@left  $PRIORITY=200
@right $PRIORITY=100
$NUMBER=4
$INSTANCE= \\
vrrp_instance VI_${NUMBER} { \\

    interface eth0.${NUMBER} \\
    @^left nopreempt \\
    priority $PRIORITY \\
    virtual_ipaddress { \\
        ~SEQ(LAST, 1, 2, 5) 198.51.100.${LAST} \\
    } \\
}
$INSTANCE
$NUMBER=5
$INSTANCE
virtual_server_group many {
    ~LST({A, B}, {7,80},{8,81}) 203.0.113.$A $B
    203.0.113.${UNKNOWN} 80
}
"""


def test_one_file_for_several_machines() -> None:
    left, right = (read_keepalived(CONDITIONAL, config_id=name) for name in ("left", "right"))
    assert left.config_ids == right.config_ids == ("left", "right")
    assert [(each.name, each.interface, each.priority) for each in left.instances] == [
        ("VI_4", "eth0.4", 200),
        ("VI_5", "eth0.5", 200),
    ]
    assert [each.preempts for each in (*left.instances, *right.instances)] == [True, True, False, False]
    assert [each.priority for each in right.instances] == [100, 100]
    addresses = [each.ip for each in left.instances[1].addresses]
    assert addresses == ["198.51.100.1", "198.51.100.3", "198.51.100.5"]


def test_lists_and_unknown_parameters() -> None:
    group = read_blocks(CONDITIONAL).blocks[-1]
    assert [child.text for child in group.children] == [
        "203.0.113.7 80",
        "203.0.113.8 81",
        "203.0.113.${UNKNOWN} 80",
    ]


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    for number in (1, 2):
        (tmp_path / "conf.d" / f"{number}.conf").write_text(
            f"vrrp_instance V{number} {{\n include part\n}}\n"
        )
    (tmp_path / "conf.d" / "part").write_text("interface eth7 # from the folder of the including file\n")
    main = tmp_path / "keepalived.conf"
    text = "include conf.d/*.conf\nincludea nowhere/*.conf\n"
    read = read_keepalived(text, file=str(main), include=included)
    assert [(each.name, each.interface) for each in read.instances] == [("V1", "eth7"), ("V2", "eth7")]
    assert doubts(read) == [
        f"{main}:2: 'includea nowhere/*.conf': there is no such file, or it cannot be read"
    ]
    assert "was not given" in doubts(read_keepalived(text))[0]


def test_a_file_that_includes_itself_ends() -> None:
    read = read_keepalived("include me\n", file="me", include=lambda pattern, file: [("me", "include me\n")])
    assert "include each other" in doubts(read)[0]


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("vrrp_instance A {\n", "line 1: 'vrrp_instance A {': its brace is never closed"),
        ("}\n", "closes nothing"),
        ("\nflux_capacitor { on }\n", "line 2: 'flux_capacitor': no statement of keepalived.conf(5)"),
        ("virtual_server www.example.org 80 { }\n", "does not name an address and a port in numbers"),
        ("virtual_server group gone { }\n", "no virtual_server_group of that name"),
        ("virtual_server 10.0.0.1 80 { lvs_sched best }\n", "scheduler 'best' is unknown"),
        ("virtual_server 10.0.0.1 80 { real_server fd00::1 80 }\n", "of the other address family"),
        ("virtual_server 10.0.0.1 80 { real_server 10.0.0.2 http://x }\n", "is no port"),
        ("vrrp_instance A { virtual_ipaddress { eth0 } }\n", "does not begin with an address"),
        ("$A=x $A\n$A\n", "its parameters contain themselves"),
    ],
)
def test_what_is_not_understood_is_said(text: str, doubt: str) -> None:
    assert any(doubt in each for each in doubts(read_keepalived(text))), doubts(read_keepalived(text))


def test_a_pool_for_ipv6_marks() -> None:
    text = "virtual_server fwmark 3 {\n lvs_method DR\n real_server 2001:db8::1 {\n }\n}\n"
    assert table(read_keepalived(text)) == ["-A -f 3 -6 -s wlc", "-a -f 3 -6 -r [2001:db8::1]:0 -g -w 1"]


@pytest.mark.parametrize(("method", "port"), [("NAT", 8080), ("DR", 0), ("TUN", 0)])
def test_a_mark_keeps_a_servers_port_where_nat_can_change_it(method: str, port: int) -> None:
    """keepalived 2.2.7, in a service of its own and in a group."""
    servers = f" lvs_method {method}\n real_server 10.0.1.1 8080 {{\n }}\n}}\n"
    for head in (
        "virtual_server fwmark 1 {\n",
        "virtual_server_group G {\n fwmark 1\n}\nvirtual_server group G {\n",
    ):
        (service,) = next(iter(read_keepalived(head + servers).pools)).services
        assert [server.name for server in service.real_servers] == [f"10.0.1.1:{port}"]


def test_a_range_counts_in_a_group_only() -> None:
    servers = "{\n protocol TCP\n real_server 10.0.1.1 80 {\n }\n}\n"
    alone = read_keepalived(f"virtual_server 10.0.0.8-10 90 {servers}")
    assert [service.name for pool in alone.pools for service in pool.services] == ["TCP 10.0.0.8:90"]
    assert "a range counts in a group only" in doubts(alone)[0]
    group = read_keepalived(
        f"virtual_server_group G {{\n 10.0.0.8-10 90\n}}\nvirtual_server group G {servers}"
    )
    assert len(group.pools[0].services) == 3 and not doubts(group)


def test_an_inhibited_sorry_server_stands_in_the_table_with_weight_0() -> None:
    text = "virtual_server 10.0.0.1 80 {\n protocol TCP\n sorry_server 10.0.1.9 80\n sorry_server_inhibit\n"
    read = read_keepalived(text + " real_server 10.0.1.1 80 {\n }\n}\n")
    assert table(read)[1:] == [
        "-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 1",
        "-a -t 10.0.0.1:80 -r 10.0.1.9:80 -m -w 0",
    ]
    assert [each.server.address for each in read.pools[0].servers] == ["10.0.1.1"]


def test_where_checks_ask_and_from_where() -> None:
    text = """virtual_server 10.0.0.1 25 {
        real_server 10.0.1.1 25 {
            SMTP_CHECK {
                host { connect_ip 10.0.1.1 }
                host { connect_ip 10.0.2.1
                       connect_port 587
                       bindto 10.0.2.9 }
            }
            TCP_CHECK { connect_ip nowhere }
        }
    }"""
    (server,) = read_keepalived(text).pools[0].servers
    assert [(check.kind, check.address, check.port, check.source) for check in server.checks] == [
        ("smtp", "10.0.1.1", 25, ""),
        ("smtp", "10.0.2.1", 587, "10.0.2.9"),
        ("tcp", "10.0.1.1", 25, ""),
    ]


SHOP = """\
# ours
checkinterval = 20
quiescent=no
fallback=192.0.2.99:http

virtual=192.0.2.80:www
\treal=192.0.2.81->192.0.2.82:www masq 2
\treal=192.0.2.83:8080 masq 5 "ping", "pong" l:10 u:90
    service=http
    checktype=negotiate
    request="index.html"
    receive="ok"      # the page says so
    persistent=50
    scheduler=wlc
virtual6=[2001:db8::53]:domain
    real6=[2001:db8::1] gate
    checktype=external
    checkcommand=/usr/local/bin/ask dns
    quiescent=yes
virtual=7
    real=192.0.2.90 ipip
    fallback=127.0.0.1
"""


def test_a_whole_ldirectord_cf() -> None:
    read = read_ldirectord(SHOP)
    assert doubts(read) == []
    assert table(read) == [
        "-A -t 192.0.2.80:80 -s wlc -p 50",
        "-a -t 192.0.2.80:80 -r 192.0.2.81:80 -m -w 2",
        "-a -t 192.0.2.80:80 -r 192.0.2.82:80 -m -w 2",
        "-a -t 192.0.2.80:80 -r 192.0.2.83:8080 -m -w 5 -x 90 -y 10",
        "-A -u [2001:db8::53]:53 -s wrr",
        "-a -u [2001:db8::53]:53 -r [2001:db8::1]:53 -g -w 1",
        "-A -f 7 -s wrr",
        "-a -f 7 -r 192.0.2.90:0 -i -w 1 --tun-type ipip",
    ]
    web, names, marked = read.pools
    assert [check.pages[0] for server in web.servers[1:] for check in server.checks] == [
        web.servers[0].checks[0].pages[0],
        type(web.servers[0].checks[0].pages[0])("/ping", contains="pong"),
    ]
    assert web.servers[0].checks[0].interval == 20.0 and web.servers[0].checks[0].kind == "http"
    assert [pool.servers[0].inhibits for pool in read.pools] == [False, True, False]
    assert names.servers[0].checks[0].script == "/usr/local/bin/ask dns"
    assert [pool.sorry and pool.sorry.name for pool in (web, marked)] == ["192.0.2.99:80", "127.0.0.1:0"]
    assert all(pool.sorry and pool.sorry.forwarding is PacketForwarding.DR for pool in (web, marked))


@pytest.mark.parametrize(
    ("text", "doubt"),
    [
        ("nonsense\n", "is no setting"),
        ("  \treal=1.2.3.4 gate\n", "belongs to no virtual service"),
        ("virtual=1.2.3.4:80\n\tcolour=red\n", "no setting of a virtual service that ldirectord knows"),
        ("colour=red\n", "no setting that ldirectord knows"),
        ("virtual=lb:80\n\treal=1.2.3.4 gate\n", "'lb' is not an IP address"),
        ("virtual=1.2.3.4:80\n\treal=1.2.3.5 fast\n", "no address with a method"),
        ("virtual=1.2.3.4:80\n\treal=1.2.3.5->1.2.3.1 gate\n", "no range"),
        ("virtual=1.2.3.4:80\n\tfallback=sorry.example\n", "'sorry.example' is not an IP address"),
    ],
)
def test_what_ldirectord_would_not_take_is_said(text: str, doubt: str) -> None:
    assert any(doubt in each for each in doubts(read_ldirectord(text))), doubts(read_ldirectord(text))


def test_rules_with_names_for_ports() -> None:
    read = read_rules(
        "# saved\n-A -t 10.0.0.1:www -s rr\n-a -t 10.0.0.1:www -r 10.0.0.2:http-alt -m\nipvsadm --set 1 2 3\n"
        "-a -t web:80 -r 10.0.0.3 -m\n"
    )
    assert format_rules(read.services).splitlines() == [
        "-A -t 10.0.0.1:80 -s rr",
        "-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 1",
    ]
    assert [each.line for each in read.unclear] == [4, 5]


WORDS = st.sampled_from(
    """{ } # ! " ' \\ $A ${A} $A=1 $A=\\ ~SEQ(A,1,3) ~LST(A,1,2) @x @^x include virtual_server
    virtual_server_group group fwmark real_server 10.0.0.1 10.0.0.1-3 10.0.0.0/30 fd00::1 80 http
    vrrp_instance virtual_ipaddress lvs_method TUN type gue port persistence_timeout HTTP_GET url path
    lvs_sync_daemon id global_defs virtual=10.0.0.1:80 virtual6=[fd00::1]:53 real=10.0.0.1 gate masq
    -> fallback=127.0.0.1 persistent=5 -A -a -t -r 10.0.0.1:80 10.0.0.2:www -f 7 -w -p 99999999999""".split()  # noqa: SIM905
)
TEXTS = st.lists(st.tuples(WORDS | st.text(max_size=6), st.sampled_from((" ", "\n", "\t", "\n    ")))).map(
    lambda parts: "".join(word + blank for word, blank in parts)
)


@given(TEXTS | st.text())
def test_no_text_is_an_error(text: str) -> None:
    read_keepalived(text, config_id="x", include=lambda pattern, file: [(pattern, "interface $A\n")])
    read_ldirectord(text)
    read_rules(text)
