"""Descriptions of virtual services: limits, names, rules to text and back.

`data/save.txt` is what `ipvsadm -S -n` 1.31 printed on Linux 6.1.176 for a table with 13
schedulers, all tunnel types, IPv6, firewall marks, persistence and one-packet scheduling.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from lvslab.errors import UsageError
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.rules import format_rules, parse_rules
from lvslab.ipvs.service import (
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
    required_modules,
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from tests.unit.tables import DR, MASQ, TUN, masq, tcp


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
