"""Descriptions of virtual services: limits, names, rules to text and back.

`data/save.txt` is what `ipvsadm -S -n` 1.31 printed on Linux 6.1.176 for a table with 13
schedulers, all tunnel types, IPv6, firewall marks, persistence and one-packet scheduling.
"""

from __future__ import annotations

import socket
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.errors import UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.rules import format_rules, parse_rules
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
    required_modules,
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType

DATA = Path(__file__).parent / "data"
DR, TUN, MASQ = PacketForwarding.DR, PacketForwarding.TUN, PacketForwarding.MASQ


def tcp(**changes: Any) -> VirtualService:
    """A plain service, with changes."""
    return replace(VirtualService(Protocol.TCP, "10.0.0.10", 80, scheduler=Scheduler.RR), **changes)


def masq(address: str = "10.0.1.11", port: int = 80, **options: Any) -> RealServer:
    return RealServer(address, port, MASQ, **options)


# --- names ----------------------------------------------------------------------------------------


def test_schedulers_are_the_fourteen_of_the_kernel_with_their_modules() -> None:
    assert {scheduler.module for scheduler in Scheduler} == {
        f"ip_vs_{name}"
        for name in (
            "rr",
            "wrr",
            "lc",
            "wlc",
            "lblc",
            "lblcr",
            "dh",
            "sh",
            "sed",
            "nq",
            "fo",
            "ovf",
            "mh",
            "twos",
        )
    }


@pytest.mark.parametrize(
    ("service", "name", "selector"),
    [
        (tcp(), "TCP 10.0.0.10:80", ("-t", "10.0.0.10:80")),
        (VirtualService(Protocol.UDP, "FD00::0010", 53), "UDP [fd00::10]:53", ("-u", "[fd00::10]:53")),
        (
            VirtualService(Protocol.TCP, "::ffff:a00:9", 80),
            "TCP [::ffff:10.0.0.9]:80",
            ("-t", "[::ffff:10.0.0.9]:80"),
        ),
        (
            VirtualService(Protocol.SCTP, "10.0.0.10", 3868),
            "SCTP 10.0.0.10:3868",
            ("--sctp-service", "10.0.0.10:3868"),
        ),
        (VirtualService(Protocol.FWMARK, fwmark=1), "FWM 1", ("-f", "1")),
        (VirtualService(Protocol.FWMARK, fwmark=2, ipv6=True), "FWM 2 IPv6", ("-f", "2", "-6")),
    ],
)
def test_a_service_is_named_as_ipvsadm_names_it(
    service: VirtualService, name: str, selector: tuple[str, ...]
) -> None:
    assert service.name == name
    assert service.selector == selector


def test_modules_of_a_table_are_named_once_and_ip_vs_comes_first() -> None:
    sip = VirtualService(
        Protocol.UDP,
        "10.0.0.10",
        5060,
        scheduler=Scheduler.RR,
        persistence_timeout=30,
        persistence_engine="sip",
    )
    assert required_modules([tcp(), sip, tcp(scheduler=Scheduler.MH)]) == (
        "ip_vs",
        "ip_vs_mh",
        "ip_vs_pe_sip",
        "ip_vs_rr",
    )
    assert tcp(scheduler=Scheduler.TWOS).required_modules == ("ip_vs", "ip_vs_twos")
    assert required_modules([]) == ("ip_vs",)


def test_a_description_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        tcp().port = 81  # type: ignore[misc]


def test_equal_tables_compare_equal_however_they_were_written() -> None:
    flags = (SchedulerFlag.SH_PORT, SchedulerFlag.SH_FALLBACK, SchedulerFlag.SH_PORT)
    ordered = (SchedulerFlag.SH_FALLBACK, SchedulerFlag.SH_PORT)
    assert tcp(scheduler=Scheduler.SH, scheduler_flags=flags) == tcp(
        scheduler=Scheduler.SH, scheduler_flags=ordered
    )
    assert tcp(persistence_timeout=9, persistence_netmask="255.255.255.255") == tcp(persistence_timeout=9)


# --- limits ---------------------------------------------------------------------------------------

BAD_SERVERS: list[tuple[dict[str, Any], str]] = [
    ({"address": "web1"}, "real server: 'web1' is not an IP address"),
    ({"address": "10.0.1"}, "real server: '10.0.1' is not an IP address"),
    ({"address": "fe80::1%eth0"}, "real server: 'fe80::1%eth0' is not an IP address"),
    ({"address": "224.0.0.1"}, "real server 224.0.0.1:80: the kernel takes unicast addresses only"),
    ({"address": "0.0.0.0"}, "real server 0.0.0.0:80: the kernel takes unicast"),
    ({"port": 65536}, "real server 10.0.1.11: port 65536 is outside 0..65535"),
    ({"port": -1}, "real server 10.0.1.11: port -1 is outside 0..65535"),
    ({"weight": 65536}, "real server 10.0.1.11:80: weight 65536 is outside 0..65535"),
    ({"weight": -1}, "real server 10.0.1.11:80: weight -1 is outside"),
    ({"upper_threshold": 2**31}, "real server 10.0.1.11:80: upper threshold 2147483648 is outside"),
    (
        {"upper_threshold": 5, "lower_threshold": 6},
        "real server 10.0.1.11:80: lower threshold 6 is above upper threshold 5",
    ),
    ({"lower_threshold": 1}, "real server 10.0.1.11:80: lower threshold 1 is above upper threshold 0"),
    (
        {"tun_type": TunnelType.GRE},
        "real server 10.0.1.11:80: tunnel options go with forwarding Tunnel, not Masq",
    ),
    ({"tun_port": 6080}, "real server 10.0.1.11:80: tunnel options go with forwarding Tunnel"),
    (
        {"forwarding": TUN, "tun_type": TunnelType.GUE},
        "real server 10.0.1.11:80: tunnel port 0 is outside 1..65535",
    ),
    (
        {"forwarding": TUN, "tun_type": TunnelType.GRE, "tun_port": 1},
        "10.0.1.11:80: tunnel type gre has no port",
    ),
    ({"forwarding": TUN, "tun_csum": TunnelChecksum.CSUM}, "10.0.1.11:80: tunnel type ipip has no checksum"),
    (
        {"forwarding": TUN, "tun_type": TunnelType.GRE, "tun_csum": TunnelChecksum.REMCSUM},
        "remcsum exists in tunnel type gue",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD_SERVERS, ids=[message for _, message in BAD_SERVERS])
def test_a_bad_real_server_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        replace(masq(), **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


BAD_SERVICES: list[tuple[dict[str, Any], str]] = [
    ({"address": "vip"}, "virtual service TCP: 'vip' is not an IP address"),
    ({"address": ""}, "virtual service TCP: '' is not an IP address"),
    ({"port": 65536}, "virtual service TCP 10.0.0.10: port 65536 is outside 0..65535"),
    ({"port": 0}, "virtual service TCP 10.0.0.10:0: port 0 (every port) needs persistence"),
    ({"fwmark": 1}, "virtual service TCP 10.0.0.10:80: TCP and firewall mark 1 exclude each other"),
    ({"ipv6": True}, "virtual service TCP 10.0.0.10:80: ipv6 goes with a firewall mark only"),
    ({"protocol": Protocol.FWMARK, "fwmark": 1}, "virtual service FWM 1: a firewall mark has no address"),
    (
        {"protocol": Protocol.FWMARK, "address": "", "port": 0},
        "virtual service by firewall mark: mark 0 is outside 1..",
    ),
    ({"ops": True}, "virtual service TCP 10.0.0.10:80: one-packet scheduling is for UDP"),
    (
        {"protocol": Protocol.SCTP, "ops": True},
        "virtual service SCTP 10.0.0.10:80: one-packet scheduling is for UDP",
    ),
    (
        {"persistence_timeout": 31 * 86400 + 1},
        "TCP 10.0.0.10:80: persistence timeout 2678401 is outside 0..2678400",
    ),
    (
        {"persistence_netmask": "255.255.255.0"},
        "TCP 10.0.0.10:80: persistence netmask 255.255.255.0 without persistence",
    ),
    (
        {"persistence_timeout": 5, "persistence_netmask": "24"},
        "TCP 10.0.0.10:80: persistence netmask '24' does not fit",
    ),
    (
        {"address": "fd00::10", "persistence_timeout": 5, "persistence_netmask": "255.255.255.0"},
        "TCP [fd00::10]:80: persistence netmask '255.255.255.0' does not fit the service's address family",
    ),
    (
        {"address": "fd00::10", "persistence_timeout": 5, "persistence_netmask": "129"},
        "persistence netmask 129 is outside 1..128",
    ),
    ({"persistence_engine": "http"}, "TCP 10.0.0.10:80: persistence engine 'http' is unknown"),
    (
        {"scheduler_flags": (SchedulerFlag.SH_PORT,)},
        "TCP 10.0.0.10:80: flag sh-port is not one of scheduler rr",
    ),
    (
        {"scheduler": Scheduler.MH, "scheduler_flags": (SchedulerFlag.FLAG_1,)},
        "TCP 10.0.0.10:80: scheduler mh names its flags mh-fallback and mh-port",
    ),
    ({"real_servers": (masq(), masq(weight=2))}, "TCP 10.0.0.10:80: real server 10.0.1.11:80 is there twice"),
    (
        {"real_servers": (RealServer("10.0.1.11", 8080, DR),)},
        "TCP 10.0.0.10:80: real server 10.0.1.11:8080 cannot have a port of its own with forwarding Route",
    ),
    (
        {"real_servers": (RealServer("10.0.1.11", 8080, TUN),)},
        "TCP 10.0.0.10:80: real server 10.0.1.11:8080 cannot have a port of its own with forwarding Tunnel",
    ),
    (
        {"real_servers": (masq("fd00::11"),)},
        "TCP 10.0.0.10:80: real server [fd00::11]:80 is of the other address family",
    ),
    (
        {"address": "fd00::10", "real_servers": (RealServer("10.0.1.11", 80, DR),)},
        "TCP [fd00::10]:80: real server 10.0.1.11:80 is of the other address family",
    ),
]


@pytest.mark.parametrize(("changes", "message"), BAD_SERVICES, ids=[message for _, message in BAD_SERVICES])
def test_a_bad_service_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        tcp(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"real_servers": ()},
        {"port": 0, "persistence_timeout": 1},
        {"protocol": Protocol.UDP, "ops": True},
        {"real_servers": (RealServer("fd00::11", 80, TUN),)},
        {"real_servers": (masq(port=8080), masq(port=8081))},
        {"real_servers": (masq(weight=0), masq("10.0.1.12", weight=65535))},
        {"real_servers": (masq(upper_threshold=5, lower_threshold=5),)},
        {"persistence_timeout": 31 * 86400},
    ],
)
def test_what_the_kernel_takes_is_taken(changes: dict[str, Any]) -> None:
    service = tcp(**changes)
    assert parse_rules(format_rules([service])) == (service,)


def test_a_firewall_mark_service_leaves_real_servers_their_ports() -> None:
    servers = (RealServer("10.0.1.11", 0, DR), RealServer("10.0.1.11", 8080, DR))
    assert VirtualService(Protocol.FWMARK, fwmark=1, real_servers=servers).real_servers == servers
    with pytest.raises(UsageError, match=r"FWM 1: real server \[fd00::1\]:0 is of the other address family"):
        VirtualService(Protocol.FWMARK, fwmark=1, real_servers=(RealServer("fd00::1", 0, MASQ),))


# --- endpoints ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["10.0.0.1:80", "[fd00::1]:0", "[::ffff:10.0.0.9]:65535"])
def test_endpoints_read_and_print_alike(text: str) -> None:
    assert str(Endpoint.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("10.0.0.1", "endpoint '10.0.0.1': the port is missing"),
        ("10.0.0.1:http", "endpoint '10.0.0.1:http': port 'http' is not a number"),
        ("10.0.0.1:65536", "endpoint: port 65536 is outside"),
        ("[fd00::1]80", "the port is missing"),
        ("localhost:80", "'localhost' is not an IP address"),
    ],
)
def test_bad_endpoints_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Endpoint.parse(text)
    assert message in str(caught.value)


# --- rules ----------------------------------------------------------------------------------------


def test_a_saved_table_reads_and_prints_alike() -> None:
    saved = (DATA / "save.txt").read_text()
    services = parse_rules(saved)
    assert len(services) == 33
    assert sum(len(service.real_servers) for service in services) == saved.count("\n-a ")
    assert {service.scheduler for service in services} == set(Scheduler) - {Scheduler.TWOS}
    assert format_rules(services) == saved


def test_every_part_of_a_saved_table_lands_in_its_field() -> None:
    by_name = {service.name: service for service in parse_rules((DATA / "save.txt").read_text())}
    assert by_name["TCP 10.0.0.10:80"].real_servers == (masq(), masq("10.0.1.12", 8080, weight=3))
    assert by_name["UDP 10.0.0.10:5060"].persistence_engine == "sip"
    assert by_name["UDP 10.0.0.10:5060"].persistence_timeout == 30
    assert by_name["UDP 10.0.0.10:54"].ops
    assert by_name["TCP 10.0.0.10:443"].persistence_netmask == "255.255.255.0"
    assert by_name["FWM 2 IPv6"].persistence_netmask == "64"
    assert by_name["FWM 2 IPv6"].real_servers[0] == masq("fd00:1::11", 0)
    assert by_name["TCP 10.0.0.10:8203"].scheduler_flags == (SchedulerFlag.MH_FALLBACK, SchedulerFlag.MH_PORT)
    assert by_name["TCP 10.0.0.10:8204"].scheduler_flags == (SchedulerFlag.FLAG_1, SchedulerFlag.FLAG_3)
    assert by_name["TCP 10.0.0.10:8100"].real_servers == (RealServer("10.0.1.11", 8100, DR),)
    gue = RealServer(
        "10.0.1.14", 8101, TUN, tun_type=TunnelType.GUE, tun_port=6081, tun_csum=TunnelChecksum.REMCSUM
    )
    gre = RealServer("10.0.1.16", 8101, TUN, tun_type=TunnelType.GRE, tun_csum=TunnelChecksum.CSUM)
    assert {gue, gre, RealServer("fd00:1::11", 8101, TUN)} < set(by_name["TCP 10.0.0.10:8101"].real_servers)


def test_marks_that_ipvsadm_printed_as_negative_numbers_are_read_as_what_they_are() -> None:
    (service,) = parse_rules((DATA / "save-large-mark.txt").read_text())
    assert (service.fwmark, service.ipv6) == (2**32 - 1, True)
    assert service.selector == ("-f", "4294967295", "-6")


@pytest.mark.parametrize(
    "written",
    [
        (
            "-A -t 10.0.0.10:80 -s sh -p 30 -M 255.255.0.0 -b sh-port\n-a -t 10.0.0.10:80 -r 10.0.1.11:8080"
            " -m -w 4 -x 9 -y 3"
        ),
        (
            "ipvsadm --add-service --tcp-service 10.0.0.10:80 --scheduler sh --persistent 30 --netmask"
            " 255.255.0.0 --sched-flags sh-port\nipvsadm --add-server --tcp-service 10.0.0.10:80"
            " --real-server 10.0.1.11:8080 --masquerading --weight 4 --u-threshold 9 --l-threshold 3"
        ),
        (
            "\n  \n\t-At10.0.0.10:80 -ssh -p30 -M255.255.0.0 --sched-flags=flag-2\n"
            "-a -w 4 -x9 --l-threshold=3 -r 10.0.1.11:8080 -mt 10.0.0.10:80\n\n"
        ),
    ],
)
def test_short_long_and_clustered_options_mean_the_same(written: str) -> None:
    server = masq(port=8080, weight=4, upper_threshold=9, lower_threshold=3)
    assert parse_rules(written) == (
        tcp(
            scheduler=Scheduler.SH,
            persistence_timeout=30,
            persistence_netmask="255.255.0.0",
            scheduler_flags=(SchedulerFlag.SH_PORT,),
            real_servers=(server,),
        ),
    )


def test_what_a_rule_leaves_out_gets_the_defaults_of_ipvsadm() -> None:
    (service,) = parse_rules("-A -u 10.0.0.10:53 -p -o\n-a -u 10.0.0.10:53 -r 10.0.1.11")
    assert (service.scheduler, service.persistence_timeout, service.ops) == (Scheduler.WLC, 360, True)
    assert service.real_servers == (RealServer("10.0.1.11", 53, DR, weight=1),)


def test_thresholds_are_printed_although_ipvsadm_forgets_them() -> None:
    service = tcp(real_servers=(masq(upper_threshold=1000, lower_threshold=800),))
    assert (
        format_rules([service]).splitlines()[1] == "-a -t 10.0.0.10:80 -r 10.0.1.11:80 -m -w 1 -x 1000 -y 800"
    )
    assert parse_rules(format_rules([service])) == (service,)


def test_an_empty_table_has_no_rules() -> None:
    assert format_rules([]) == ""
    assert parse_rules("") == ()


def test_a_service_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"virtual service TCP 10\.0\.0\.10:80 is there twice"):
        format_rules([tcp(), tcp(scheduler=Scheduler.WRR)])


GOOD = "-A -t 10.0.0.10:80 -s rr"
BAD_RULES: list[tuple[str, str]] = [
    ("-A -t 10.0.0.10:80 -s nonesuch", "scheduler 'nonesuch' is unknown; choose one of rr, wrr"),
    ("-A -t 10.0.0.10:http", "port 'http' is not a number"),
    ("-A -t www.example.org:80", "'www.example.org' is not an IP address"),
    ("-A -t 10.0.0.10:0", "needs persistence"),
    ("-A -t 10.0.0.10:81 -o", "one-packet scheduling is for UDP"),
    ("-A -t 10.0.0.10:80 -s wrr", "virtual service TCP 10.0.0.10:80 is there twice"),
    ("-A -t 10.0.0.10:81 -u 10.0.0.10:81", "names one virtual service"),
    ("-A -s rr", "names one virtual service"),
    ("-A -t 10.0.0.10:81 -6", "-6 goes with -f only"),
    ("-A -f 0", "mark 0 is outside 1..4294967295"),
    ("-A -f 4294967296", "mark 4294967296 is outside"),
    ("-A -f -2147483649", "mark -2147483649 is outside"),
    ("-A -t 10.0.0.10:81 -p 0", "persistence: timeout 0 is outside 1..2678400"),
    ("-A -t 10.0.0.10:81 -p -M 24", "persistence netmask '24' does not fit"),
    ("-A -t 10.0.0.10:81 -s rr -b sh-port", "flag sh-port is not one of scheduler rr"),
    ("-A -t 10.0.0.10:81 -s sh -b flag-3", "scheduler sh names its flags"),
    ("-A -t 10.0.0.10:81 -b nonesuch", "scheduler flag 'nonesuch' is unknown"),
    ("-A -t 10.0.0.10:81 -s", "-s: its value is missing"),
    ("-A -t 10.0.0.10:81 -s rr -s wrr", "-s is there twice"),
    ("-A -t 10.0.0.10:81 -w 1", "-w does not belong to -A"),
    ("-A -t 10.0.0.10:81 --bogus", "option --bogus is unknown"),
    ("-A -t 10.0.0.10:81 --ops=1", "option --ops=1 is unknown"),
    ("-A -t 10.0.0.10:81 -Z", "option -Z is unknown"),
    ("-A -t 10.0.0.10:81 # web", "unexpected word '#'"),
    ("-t 10.0.0.10:81 -A", "a rule starts with -A or with -a"),
    ("-A -a -t 10.0.0.10:81", "a rule starts with -A or with -a"),
    ("-a -t 10.0.0.10:81 -r 10.0.1.11", "virtual service TCP 10.0.0.10:81 is not defined above"),
    ("-a -t 10.0.0.10:80", "needs a real server"),
    ("-a -t 10.0.0.10:80 -r 10.0.1.11 -s rr", "-s does not belong to -a"),
    (
        "-a -t 10.0.0.10:80 -r 10.0.1.11:81 -g",
        "10.0.1.11:81 cannot have a port of its own with forwarding Route",
    ),
    ("-a -t 10.0.0.10:80 -r [fd00::1]:80 -m", "of the other address family"),
    ("-a -t 10.0.0.10:80 -r 10.0.1.11 -m -w 65536", "weight 65536 is outside"),
    ("-a -t 10.0.0.10:80 -r 10.0.1.11 -m -w -1", "weight -1 is outside"),
    ("-a -t 10.0.0.10:80 -r 10.0.1.11 -m -x 1 -y 2", "lower threshold 2 is above"),
    ("-a -t 10.0.0.10:80 -r 10.0.1.11 -m -g", "options exclude each other"),
    (
        "-a -t 10.0.0.10:80 -r 10.0.1.11 -i --tun-type vxlan",
        "tunnel type 'vxlan' is unknown; choose one of ipip, gue, gre",
    ),
    ("-a -t 10.0.0.10:80 -r 10.0.1.11 -i --tun-type gue", "tunnel port 0 is outside"),
    (
        "-a -t 10.0.0.10:80 -r 10.0.1.11 -i --tun-type gre --tun-nocsum --tun-csum",
        "options exclude each other",
    ),
]


@pytest.mark.parametrize(("rule", "message"), BAD_RULES, ids=[rule for rule, _ in BAD_RULES])
def test_a_bad_rule_is_refused_with_its_line(rule: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rules(f"{GOOD}\n\n{rule}\n")
    assert str(caught.value).startswith(f"line 3: '{rule}': ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_real_server_given_twice_is_refused_with_its_line() -> None:
    with pytest.raises(UsageError, match=r"^line 3: .*real server 10\.0\.1\.11:80 is there twice"):
        parse_rules(f"{GOOD}\n-a -t 10.0.0.10:80 -r 10.0.1.11 -m\n-a -t 10.0.0.10:80 -r 10.0.1.11:80 -g\n")


# --- the round trip, for any table ----------------------------------------------------------------


def _addresses(ipv6: bool) -> st.SearchStrategy[str]:
    strategy = st.ip_addresses(v=6 if ipv6 else 4)
    return strategy.filter(
        lambda a: not a.is_multicast and not a.is_unspecified and str(a) != "255.255.255.255"
    ).map(str)


@st.composite
def services(draw: st.DrawFn) -> VirtualService:
    """Any service that may exist."""
    protocol = draw(st.sampled_from(Protocol))
    ipv6 = draw(st.booleans())
    marked = protocol is Protocol.FWMARK
    timeout = draw(st.sampled_from([0, 1, 360, 31 * 86400]))
    port = 0 if marked else draw(st.integers(0 if timeout else 1, 65535))
    mask = (
        draw(st.integers(1, 128).map(str) if ipv6 else st.ip_addresses(v=4).map(str))
        if timeout and draw(st.booleans())
        else ""
    )
    scheduler = draw(st.sampled_from(Scheduler))
    named = [flag for flag in SchedulerFlag if flag.scheduler is scheduler]
    flags = named or [flag for flag in SchedulerFlag if flag.scheduler is None]
    servers: dict[str, RealServer] = {}
    for _ in range(draw(st.integers(0, 4))):
        forwarding = draw(st.sampled_from(PacketForwarding))
        other_family = forwarding is TUN and draw(st.booleans())
        upper = draw(st.sampled_from([0, 1, 2**31 - 1]))
        kind = draw(st.sampled_from(TunnelType)) if forwarding is TUN else TunnelType.IPIP
        checksums = {"ipip": ["nocsum"], "gre": ["nocsum", "csum"], "gue": ["nocsum", "csum", "remcsum"]}[
            kind.value
        ]
        server = RealServer(
            draw(_addresses(ipv6 != other_family)),
            draw(st.integers(0, 65535)) if marked or forwarding is MASQ else port,
            forwarding,
            draw(st.integers(0, 65535)),
            upper,
            draw(st.integers(0, upper)),
            tun_type=kind,
            tun_port=draw(st.integers(1, 65535)) if kind is TunnelType.GUE else 0,
            tun_csum=TunnelChecksum(draw(st.sampled_from(checksums))),
        )
        servers[server.name] = server
    return VirtualService(
        protocol,
        "" if marked else draw(_addresses(ipv6)),
        port,
        fwmark=draw(st.integers(1, 2**32 - 1)) if marked else 0,
        ipv6=ipv6 and marked,
        scheduler=scheduler,
        scheduler_flags=tuple(draw(st.lists(st.sampled_from(flags)))),
        persistence_timeout=timeout,
        persistence_netmask=mask,
        persistence_engine=draw(st.sampled_from(["", "sip"])),
        ops=protocol in (Protocol.UDP, Protocol.FWMARK) and draw(st.booleans()),
        real_servers=tuple(servers.values()),
    )


@given(st.lists(services(), max_size=5, unique_by=lambda service: service.name))
def test_any_table_survives_being_written_and_read(table: list[VirtualService]) -> None:
    text = format_rules(table)
    assert parse_rules(text) == tuple(table)
    assert format_rules(parse_rules(text)) == text
    assert len(text.splitlines()) == len(table) + sum(len(service.real_servers) for service in table)


@given(st.text(alphabet="-Aatufprsmgiwxy6[]:. 0123456789\n", max_size=60))
def test_any_text_is_read_or_refused_with_a_line_number(text: str) -> None:
    try:
        table = parse_rules(text)
    except UsageError as error:
        assert str(error).startswith("line ")
    else:
        assert parse_rules(format_rules(table)) == table


@given(st.ip_addresses(v=6))
def test_addresses_are_written_as_inet_ntop_writes_them(address: Any) -> None:
    endpoint = Endpoint(address.exploded, 80)
    assert endpoint.address == socket.inet_ntop(socket.AF_INET6, address.packed)
    assert Endpoint.parse(str(endpoint)) == endpoint
