"""ipvsadm's rules read and written: every saved table, every option, and any table at all."""

from __future__ import annotations

import socket
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
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from tests.unit.tables import DATA, DR, MASQ, TUN, masq, tcp


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
