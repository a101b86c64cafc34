"""What the doctor must say of situations that were reported in public: their facts, in a director's
own words, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lvslab.doctor.diagnose import diagnose
from lvslab.doctor.evidence import Evidence, Ipvs, Machine
from lvslab.doctor.finding import Certainty
from lvslab.ipvs.listings import Timeouts, parse_connections
from lvslab.ipvs.rules import parse_rules
from lvslab.modes.base import Role
from lvslab.reading.network import Address, Link

_HEAD = "IPVS connection entries\npro expire state       source             virtual            destination\n"


def director(
    table: str,
    entries: str = "",
    *,
    vips: tuple[str, ...],
    sysctls: Mapping[str, int] | None = None,
    release: str = "",
    rules: tuple[str, ...] = (),
) -> Machine:
    """A director that has its virtual addresses, forwards, and of which nothing else is known."""
    return Machine(
        "lvs",
        Role.DIRECTOR,
        links=(Link("eth0", addresses=tuple(Address(vip, 128 if ":" in vip else 32) for vip in vips)),),
        sysctls={
            "net.ipv4.ip_forward": "1",
            **{f"net.ipv4.vs.{name}": str(value) for name, value in (sysctls or {}).items()},
            **({"kernel.osrelease": release} if release else {}),
        },
        rules=rules,
        ipvs=Ipvs(
            services=parse_rules(table),
            connections=parse_connections(_HEAD + entries),
            timeouts=Timeouts(900, 120, 300),
        ),
    )


def said(*machines: Machine) -> list[tuple[str, Certainty]]:
    return [(each.fault, each.certainty) for each in diagnose(Evidence(machines))]


# -- client ports used again, and a server with weight 0 -------------------------------------------

_REUSE = """\
-A -t 10.80.0.1:443 -s rr
-a -t 10.80.0.1:443 -r 10.80.4.15:8443 -m -w 0
-a -t 10.80.0.1:443 -r 10.80.5.16:8443 -m -w 1
"""
_CLOSED = "TCP 01:57  TIME_WAIT   10.80.0.9:32801    10.80.0.1:443      10.80.4.15:8443\n"


@pytest.mark.parametrize(
    ("release", "nodest", "expected"),
    [
        ("6.1.0-18-amd64", 1, []),
        ("6.1.0-18-amd64", 0, [("reused-port-pinned", Certainty.CERTAIN)]),
        ("5.4.0-150-generic", 1, [("reused-port-pinned", Certainty.LIKELY)]),
        ("4.18.0-553.el8", 0, [("reused-port-pinned", Certainty.CERTAIN)]),
        ("", 1, []),
    ],
)
def test_a_reused_port_is_scheduled_anew_since_5_16_where_nodest_connections_expire(
    release: str, nodest: int, expected: list[tuple[str, Certainty]]
) -> None:
    sysctls = {"conn_reuse_mode": 0, "expire_nodest_conn": nodest, "conntrack": 1}
    node = director(_REUSE, _CLOSED, vips=("10.80.0.1",), sysctls=sysctls, release=release)
    assert said(node) == expected


# -- an IPv6 address whose servers are reached by IPv4 tunnels -------------------------------------

_SIX = "-A -t [fd00:120::80]:80 -s sh\n-a -t [fd00:120::80]:80 -r 10.120.4.11:80 -i -w 1\n"


def _server(*links: Link) -> Machine:
    card = Link("eth0", addresses=(Address("10.120.4.11", 24), Address("fd00:120:4::11", 64)))
    return Machine(
        "rs1", Role.REAL_SERVER, links=(card, *links), sysctls={"net.ipv4.conf.all.rp_filter": "1"}
    )


@pytest.mark.parametrize("up", [True, False])
def test_ipv6_in_ipv4_is_unwrapped_by_sit(up: bool) -> None:
    lvs = director(_SIX, vips=("fd00:120::80",))
    sit = Link("sit0", kind="sit", up=up, addresses=(Address("fd00:120::80", 128),))
    findings = diagnose(Evidence((lvs, _server(sit))))
    assert [(each.fault, each.fix) for each in findings] == (
        [] if up else [("tunnel-down", ("rs1# ip link set sit0 up",))]
    )


def test_the_link_and_the_prefix_fit_the_family() -> None:
    lvs = director(_SIX, vips=("fd00:120::80",))
    ipip = Link("tunl0", kind="ipip")
    fixes = {each.fault: each.fix for each in diagnose(Evidence((lvs, _server(ipip))))}
    assert fixes == {
        "vip-missing-on-server": ("rs1# ip address add fd00:120::80/128 dev sit0",),
        "tunnel-down": (
            "rs1# modprobe sit",
            "rs1# ip address add fd00:120::80/128 dev sit0",
            "rs1# ip link set sit0 up",
        ),
    }


# -- persistence leads clients to an endpoint that is gone -----------------------------------------

_STICKY = """\
-A -t 10.130.0.10:443 -s wlc -p 1800
-a -t 10.130.0.10:443 -r 10.130.4.5:8443 -m -w 1
-a -t 10.130.0.10:443 -r 10.130.4.6:8443 -m -w 1
"""
_STUCK = """\
TCP 00:56  SYN_RECV    10.130.0.77:50212  10.130.0.10:443    10.130.4.6:8443
TCP 00:41  SYN_RECV    10.130.0.77:50190  10.130.0.10:443    10.130.4.6:8443
TCP 29:25  {state:11} 10.130.0.77:0      10.130.0.10:443    10.130.4.6:8443
TCP 14:59  ESTABLISHED 10.130.0.78:41002  10.130.0.10:443    10.130.4.5:8443
"""


def test_a_template_is_no_connection_that_got_through() -> None:
    node = director(_STICKY, _STUCK.format(state="NONE"), vips=("10.130.0.10",))
    assert said(node) == [("wrong-gateway", Certainty.LIKELY)]


def test_a_server_that_has_answered_once_has_no_wrong_gateway_it_is_gone() -> None:
    node = director(_STICKY, _STUCK.format(state="ASSURED"), vips=("10.130.0.10",))
    (finding,) = diagnose(Evidence((node,)))
    assert (finding.fault, finding.certainty) == ("server-silent", Certainty.LIKELY)
    assert finding.fix[0] == "lvs# ipvsadm -d -t 10.130.0.10:443 -r 10.130.4.6:8443"
    assert "no sysctl ends that" in finding.sentence


# -- datagrams go on to a server that is drained or gone -------------------------------------------

_SYSLOG = "-A -u 10.70.0.14:514 -s lc\n-a -u 10.70.0.14:514 -r 10.70.1.22:514 -m -w 1\n"
_DRAINED = f"{_SYSLOG}-a -u 10.70.0.14:514 -r 10.70.1.21:514 -m -w 0\n"
_TO_21 = "UDP 04:59  UDP         10.70.0.200:{port}    10.70.0.14:514     10.70.1.21:514\n"
_TO_22 = "UDP 02:11  UDP         10.70.0.202:40001  10.70.0.14:514     10.70.1.22:514\n"


@pytest.mark.parametrize(
    ("table", "entries", "nodest", "expected"),
    [
        (_DRAINED, _TO_21.format(port=514), 1, [("udp-keeps-drained", Certainty.LIKELY)]),
        (_DRAINED, _TO_21.format(port=40002), 1, []),  # one datagram of many ports: it runs out
        (_DRAINED, _TO_22, 1, []),
        (_SYSLOG, _TO_21.format(port=514), 0, [("deleted-server-swallows", Certainty.CERTAIN)]),
        (_SYSLOG, _TO_21.format(port=514), 1, []),
    ],
)
def test_a_sender_that_keeps_its_port_keeps_a_drained_server(
    table: str, entries: str, nodest: int, expected: list[tuple[str, Certainty]]
) -> None:
    sysctls = {"expire_nodest_conn": nodest, "expire_quiescent_template": 0, "conn_reuse_mode": 0}
    assert said(director(table, entries, vips=("10.70.0.14",), sysctls=sysctls, release="6.1.0")) == expected


# -- marks of a routing mesh -----------------------------------------------------------------------

_MESH = """\
-A -f 261 -s rr
-A -f 288 -s rr
-a -f 288 -r 10.100.0.17:0 -m -w 1
-A -f 290 -s rr
-a -f 290 -r 10.100.0.42:0 -m -w 1
"""


def _mark(port: int, mark: int) -> str:
    return f"mangle -A PREROUTING -p tcp -m tcp --dport {port} -j MARK --set-xmark {mark:#x}/0xffffffff"


def test_a_stale_rule_is_named_and_not_its_empty_pool() -> None:
    rules = (_mark(8021, 288), _mark(8021, 261), _mark(9000, 290), _mark(9100, 303))
    findings = {each.fault: each for each in diagnose(Evidence((director(_MESH, vips=(), rules=rules),)))}
    assert set(findings) == {"mark-set-twice", "mark-without-service"}
    twice = findings["mark-set-twice"]
    assert twice.certainty is Certainty.CERTAIN
    assert twice.fix == (
        "take the stale rule away, so that 288 is left: lvs# iptables -t mangle -D PREROUTING -p tcp -m tcp"
        " --dport 8021 -j MARK --set-xmark 0x105/0xffffffff",
        "lvs# ipvsadm -D -f 261",
    )
    assert "303" in findings["mark-without-service"].sentence


def test_a_pool_that_one_rule_alone_leads_to_and_is_empty_wants_a_server() -> None:
    rules = (_mark(8021, 261), _mark(8020, 288), _mark(9000, 290))
    assert said(director(_MESH, vips=(), rules=rules)) == [("no-real-server", Certainty.CERTAIN)]


# -- a sorry server on the director itself ---------------------------------------------------------


@pytest.mark.parametrize(("forwarding", "faults"), [("-m", ["masquerade-to-loopback"]), ("-g", [])])
def test_nothing_is_masqueraded_to_a_loopback_address(forwarding: str, faults: list[str]) -> None:
    table = f"-A -t 10.150.0.21:21 -s rr\n-a -t 10.150.0.21:21 -r 127.0.0.1:21 {forwarding} -w 1\n"
    assert [fault for fault, _ in said(director(table, vips=("10.150.0.21",)))] == faults
