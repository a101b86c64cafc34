"""The parsers of ipvsadm's output, and what is run to get it.

Everything in data/ was recorded: ipvsadm 1.31 (Debian 1:1.31-1+b1) in a User-Mode Linux 6.1.176,
with two real servers behind it and a client that sent HTTP, UDP, SIP, firewall-marked and IPv6
traffic, and 2 GB of iperf3. `restore.json` holds the outcome of the script of `Ipvsadm.restore` for
tables that the kernel took or refused.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import CommandError, LabError, UsageError
from lvslab.host.completed import Completed
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.ipvsadm import Ipvsadm
from lvslab.ipvs.listings import (
    Connection,
    ServerRates,
    ServerStats,
    Timeouts,
    parse_connections,
    parse_rates,
    parse_stats,
    parse_thresholds,
    parse_timeouts,
)
from lvslab.ipvs.rules import parse_rules
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService
from lvslab.ipvs.tunnels import TunnelType

DATA = Path(__file__).parent / "data"
RESTORED: list[dict[str, Any]] = json.loads((DATA / "restore.json").read_text())
SERVICE = VirtualService(Protocol.TCP, "fd00::10", 80, scheduler=Scheduler.SH, persistence_timeout=9)
SERVER = RealServer("10.0.1.12", 80, PacketForwarding.TUN, 2, 9, tun_type=TunnelType.GUE, tun_port=6080)


def recorded(name: str) -> str:
    return (DATA / name).read_text()


class FakeNode:
    """Answers every script with the same result and keeps the scripts."""

    name = "director"

    def __init__(self, out: str = "", *, code: int = 0, err: str = "") -> None:
        self.completed = Completed(code, out, err)
        self.scripts: list[str] = []

    def run(self, script: str, *, timeout: float = 30.0) -> Completed:
        self.scripts.append(script)
        return self.completed


# --- parsers --------------------------------------------------------------------------------------


def test_stats_are_read_with_exact_numbers() -> None:
    services = {service.service: service for service in parse_stats(recorded("stats.txt"))}
    big = services["TCP 10.0.0.10:5201"]
    assert (big.conns, big.in_packets, big.out_packets, big.in_bytes, big.out_bytes) == (
        2,
        33183,
        22430,
        2143568914,
        1166806,
    )
    assert big.servers == (
        ServerStats(
            server="10.0.1.11:5201",
            conns=2,
            in_packets=33183,
            out_packets=22430,
            in_bytes=2143568914,
            out_bytes=1166806,
        ),
    )
    assert [(server.server, server.conns) for server in services["FWM 2 IPv6"].servers] == [
        ("[fd00:1::11]:0", 0),
        ("[fd00:1::12]:0", 19),
    ]
    assert (services["UDP [fd00::10]:53"].in_bytes, services["UDP [fd00::10]:53"].out_bytes) == (296, 296)


def test_stats_of_a_service_are_the_sum_of_its_servers() -> None:
    for service in parse_stats(recorded("stats.txt")):
        assert service.conns == sum(server.conns for server in service.servers), service.service
        assert service.in_bytes == sum(server.in_bytes for server in service.servers), service.service


def test_stats_name_services_and_servers_as_the_descriptions_do() -> None:
    """Counters and descriptions of one table meet by name, in the same order."""
    table = parse_rules(recorded("save.txt"))
    expected = [(service.name, [server.name for server in service.real_servers]) for service in table]
    stats, rates = parse_stats(recorded("stats.txt")), parse_rates(recorded("rates.txt"))
    assert [(service.service, [server.server for server in service.servers]) for service in stats] == expected
    assert [(service.service, [server.server for server in service.servers]) for service in rates] == expected


def test_stats_of_a_large_mark_are_named_by_the_mark() -> None:
    (service,) = parse_stats(recorded("stats-large-mark.txt"))
    assert service.service == "FWM 4294967295 IPv6"
    assert service.service == parse_rules(recorded("save-large-mark.txt"))[0].name


def test_rates_are_read() -> None:
    services = {service.service: service for service in parse_rates(recorded("rates.txt"))}
    big = services["TCP 10.0.0.10:5201"]
    assert big.servers == (
        ServerRates(
            server="10.0.1.11:5201", cps=0, in_pps=2910, out_pps=1949, in_bps=187906127, out_bps=101383
        ),
    )
    marked = services["FWM 1"]
    assert (marked.cps, marked.in_pps, marked.out_pps, marked.in_bps, marked.out_bps) == (2, 9, 6, 526, 393)


@pytest.mark.parametrize("name", ["connections.txt", "connections-pe.txt"])
def test_connections_are_read(name: str) -> None:
    connections = parse_connections(recorded(name))
    assert len(connections) == 150
    assert Counter((connection.protocol, connection.state) for connection in connections) == {
        ("TCP", "TIME_WAIT"): 101,
        ("TCP", "CLOSE"): 33,
        ("TCP", "ESTABLISHED"): 2,
        ("TCP", "SYN_RECV"): 2,
        ("TCP", "ASSURED"): 1,
        ("UDP", "UDP"): 7,
        ("UDP", "ASSURED"): 2,
        ("IP", "ASSURED"): 2,
    }
    crossing = next(c for c in connections if c.virtual == Endpoint("10.0.0.10", 8101))
    assert crossing == Connection(
        "TCP",
        58,
        "SYN_RECV",
        Endpoint("10.0.0.100", 40006),
        Endpoint("10.0.0.10", 8101),
        Endpoint("fd00:1::11", 8101),
    )
    established = next(c for c in connections if c.state == "ESTABLISHED" and c.client.ipv6)
    assert (established.expires, str(established.client)) == (14 * 60 + 51, "[fd00::100]:59228")


def test_templates_are_told_from_connections() -> None:
    templates = [
        connection
        for connection in parse_connections(recorded("connections-pe.txt"))
        if connection.is_template
    ]
    assert {(str(t.client), t.fwmark or str(t.virtual), t.expires) for t in templates} == {
        ("10.0.0.0:0", "10.0.0.10:443", 111),
        ("10.0.0.100:0", "10.0.0.10:5060", 21),
        ("[fd00::]:0", "[fd00::10]:53", 291),
        ("10.0.0.100:0", 1, 359),
        ("[fd00::]:0", 2, 59),
    }


def test_the_key_of_a_persistence_engine_is_read() -> None:
    (template,) = (c for c in parse_connections(recorded("connections-pe.txt")) if c.pe_name)
    assert (template.pe_name, template.pe_data) == ("sip", "3848276298220188511@10.0.0.100")
    assert not any(c.pe_name or c.pe_data for c in parse_connections(recorded("connections.txt")))


@pytest.mark.parametrize(
    ("virtual", "mark"),
    [
        ("0.0.0.1", 1),
        ("255.255.255.255", 2**32 - 1),
        ("0:2::", 2),
        ("ffff:fffe::", 2**32 - 2),
        ("1::", 65536),
    ],
)
def test_the_mark_of_a_template_is_the_first_four_bytes(virtual: str, mark: int) -> None:
    template = Connection(
        "IP", 1, "NONE", Endpoint("10.0.0.1", 0), Endpoint(virtual, 0), Endpoint("10.0.1.1", 0)
    )
    assert template.fwmark == mark
    assert replace(template, protocol="TCP").fwmark == 0


def test_thresholds_are_read() -> None:
    thresholds = parse_thresholds(recorded("thresholds.txt"))
    assert thresholds["TCP 10.0.0.10:80", "10.0.1.12:8080"] == (1000, 800)
    assert {value for key, value in thresholds.items() if key != ("TCP 10.0.0.10:80", "10.0.1.12:8080")} == {
        (0, 0)
    }
    assert ("FWM 2 IPv6", "[fd00:1::12]:0") in thresholds
    assert len(thresholds) == recorded("save.txt").count("\n-a ")


def test_timeouts_are_read() -> None:
    assert parse_timeouts(recorded("timeouts.txt")) == Timeouts(tcp=900, tcpfin=120, udp=300)


def test_an_empty_table_is_empty() -> None:
    assert parse_stats(recorded("stats-empty.txt")) == ()
    assert parse_rates(recorded("stats-empty.txt")) == ()
    assert parse_thresholds(recorded("stats-empty.txt")) == {}
    assert parse_connections(recorded("connections-empty.txt")) == ()


@pytest.mark.parametrize(
    ("parse", "text", "shown"),
    [
        # without --exact: no number to be believed
        (parse_stats, recorded("stats-rounded.txt"), "2143M"),
        (parse_stats, "", "''"),
        (parse_stats, recorded("thresholds.txt"), "persistent 20"),
        (
            parse_stats,
            recorded("stats-empty.txt") + "  -> 10.0.1.11:80 1 1 1 1 1\n",
            "10.0.1.11:80",
        ),  # a server of no service
        (parse_stats, recorded("stats-empty.txt") + "ICMP 10.0.0.10:80 1 1 1 1 1\n", "ICMP"),
        (parse_rates, recorded("connections.txt"), "IPVS connection entries"),
        (parse_thresholds, recorded("stats.txt"), "10.0.1.11:80"),
        (parse_connections, recorded("stats.txt"), "IP Virtual Server"),
        (parse_connections, "", "''"),
        (
            parse_connections,
            recorded("connections-empty.txt") + "TCP 14:51 ESTABLISHED\n",
            "TCP 14:51 ESTABLISHED",
        ),
        (
            parse_connections,
            recorded("connections-empty.txt") + "TCP 1 NONE 10.0.0.1:1 10.0.0.2:1 10.0.0.3:1\n",
            "TCP 1 NONE",
        ),
        (
            parse_connections,
            recorded("connections-empty.txt") + "TCP 0:01 NONE a:1 10.0.0.2:1 10.0.0.3:1\n",
            "a:1",
        ),
        (parse_timeouts, "", "''"),
    ],
)
def test_output_that_is_not_understood_is_shown_and_not_guessed(
    parse: Callable[[str], object], text: str, shown: str
) -> None:
    with pytest.raises(LabError) as caught:
        parse(text)
    assert shown in str(caught.value)
    assert "which lvslab cannot read" in str(caught.value)


# --- restore: ipvsadm -R exits with the status of its last rule -----------------------------------


def _outcome(case: str) -> tuple[FakeNode, tuple[VirtualService, ...]]:
    (found,) = (outcome for outcome in RESTORED if outcome["case"] == case)
    return FakeNode(found["out"], code=found["code"], err=found["err"]), parse_rules(found["rules"])


@pytest.mark.parametrize(
    ("case", "code", "message"),
    [
        (
            "unknown scheduler, then a good service",
            0,
            (
                "Scheduler or persistence engine not found (first rule that is not in the table: -A -t"
                " 10.0.0.10:80 -s twos)"
            ),
        ),
        ("unknown scheduler, last", 255, "(first rule that is not in the table: -A -t 10.0.0.10:81 -s twos)"),
        (
            "service exists already, with another scheduler",
            0,
            "Service already exists (first rule that is not in the table: -A -t 10.0.0.10:80 -s rr)",
        ),
        ("service exists already, alike", 0, "Service already exists (all rules are in the table)"),
        (
            "real server of an unknown service",
            0,
            (
                "Scheduler or persistence engine not found; Service not defined (first rule that is not in"
                " the table: -A"
            ),
        ),
        (
            "broadcast real server",
            0,
            "address not unicast, ... (first rule that is not in the table: -a -t 10.0.0.10:80 -r 10.0.1.255",
        ),
    ],
)
def test_a_refused_rule_is_noticed_whatever_the_status_says(case: str, code: int, message: str) -> None:
    node, table = _outcome(case)
    with pytest.raises(CommandError) as caught:
        Ipvsadm(node).restore(table)
    assert message in str(caught.value)
    assert (caught.value.node, caught.value.command, caught.value.code) == ("director", "ipvsadm -R", code)


def test_a_table_that_was_taken_passes() -> None:
    node, table = _outcome("all well")
    Ipvsadm(node).restore(table)
    assert len(node.scripts) == 1
    assert (
        "-A -t 10.0.0.10:80 -s rr\n-a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 1\nRULES\n" in node.scripts[0]
    )


def test_a_rule_that_vanished_without_a_word_is_noticed() -> None:
    node, table = _outcome("all well")
    extra = (replace(table[0], port=81, real_servers=()), *table)
    with pytest.raises(
        CommandError, match=r"no message \(first rule that is not in the table: -A -t 10\.0\.0\.10:81"
    ):
        Ipvsadm(node).restore(extra)


def test_thresholds_do_not_look_like_a_missing_rule() -> None:
    node, (service,) = _outcome("all well")
    server = replace(service.real_servers[0], upper_threshold=5)
    Ipvsadm(node).restore((replace(service, real_servers=(server,)),))
    assert "-m -w 1 -x 5\n" in node.scripts[0]


def test_a_status_alone_is_a_failure_too() -> None:
    node, table = _outcome("all well")
    node.completed = replace(node.completed, code=137)
    with pytest.raises(CommandError, match=r"status 137: no message \(all rules are in the table\)"):
        Ipvsadm(node).restore(table)


def test_a_missing_ipvsadm_is_a_failure_that_says_so() -> None:
    node = FakeNode(
        "==== lvslab ====\n", code=127, err="sh: 1: ipvsadm: not found\nsh: 6: ipvsadm: not found\n"
    )
    with pytest.raises(CommandError, match="ipvsadm: not found") as caught:
        Ipvsadm(node).restore((SERVICE,))
    assert caught.value.code == 127


def test_nothing_to_restore_runs_nothing_and_a_clash_is_refused_before_anything_runs() -> None:
    node = FakeNode()
    Ipvsadm(node).restore(())
    with pytest.raises(UsageError, match="is there twice"):
        Ipvsadm(node).restore((SERVICE, SERVICE))
    assert node.scripts == []


# --- the other verbs ------------------------------------------------------------------------------


def test_save_joins_the_rules_with_the_thresholds() -> None:
    node = FakeNode(recorded("save-script.txt"))
    table = Ipvsadm(node).save()
    assert node.scripts == ["ipvsadm -S -n && echo '==== lvslab ====' && ipvsadm -L -n --thresholds"]
    (web,) = (service for service in table if service.name == "TCP 10.0.0.10:80")
    assert [(s.name, s.upper_threshold, s.lower_threshold) for s in web.real_servers] == [
        ("10.0.1.11:80", 0, 0),
        ("10.0.1.12:8080", 1000, 800),
    ]
    assert len(table) == 33


def test_a_table_that_lvslab_cannot_describe_is_no_fault_of_the_user() -> None:
    table = "-A -t 10.0.0.10:80 -s nonesuch\n==== lvslab ====\n" + recorded("stats-empty.txt")
    with pytest.raises(
        LabError, match="director: 'ipvsadm -S -n' printed what lvslab cannot describe: line 1"
    ):
        Ipvsadm(FakeNode(table)).save()


@pytest.mark.parametrize(
    ("act", "script"),
    [
        (lambda ipvs: ipvs.clear(), "ipvsadm -C"),
        (lambda ipvs: ipvs.edit_service(SERVICE), "ipvsadm -E -t '[fd00::10]:80' -s sh -p 9"),
        (lambda ipvs: ipvs.delete_service(SERVICE), "ipvsadm -D -t '[fd00::10]:80'"),
        (
            lambda ipvs: ipvs.add_server(SERVICE, SERVER),
            (
                "ipvsadm -a -t '[fd00::10]:80' -r 10.0.1.12:80 -i -w 2 --tun-type gue --tun-port 6080"
                " --tun-nocsum -x 9"
            ),
        ),
        (
            lambda ipvs: ipvs.edit_server(SERVICE, SERVER),
            (
                "ipvsadm -e -t '[fd00::10]:80' -r 10.0.1.12:80 -i -w 2 --tun-type gue --tun-port 6080"
                " --tun-nocsum -x 9"
            ),
        ),
        (lambda ipvs: ipvs.delete_server(SERVICE, SERVER), "ipvsadm -d -t '[fd00::10]:80' -r 10.0.1.12:80"),
        (lambda ipvs: ipvs.zero(), "ipvsadm -Z"),
        (lambda ipvs: ipvs.zero(SERVICE), "ipvsadm -Z -t '[fd00::10]:80'"),
        (lambda ipvs: ipvs.set_timeouts(tcp=60), "ipvsadm --set 60 0 0"),
    ],
)
def test_a_verb_runs_one_command_and_its_failure_is_raised(
    act: Callable[[Ipvsadm], None], script: str
) -> None:
    node = FakeNode()
    act(Ipvsadm(node))
    assert node.scripts == [script]
    with pytest.raises(CommandError, match="failed with status 255: No such service"):
        act(Ipvsadm(FakeNode(code=255, err="No such service\n")))


@pytest.mark.parametrize(
    ("act", "recording", "options", "count"),
    [
        (lambda ipvs: ipvs.list_stats(), "stats.txt", "-L -n --stats --exact", 33),
        (lambda ipvs: ipvs.list_rates(), "rates.txt", "-L -n --rate --exact", 33),
        (lambda ipvs: ipvs.list_connections(), "connections-pe.txt", "-L -n -c --persistent-conn", 150),
    ],
)
def test_a_listing_is_asked_for_in_exact_numbers(
    act: Callable[[Ipvsadm], tuple[object, ...]], recording: str, options: str, count: int
) -> None:
    node = FakeNode(recorded(recording))
    assert len(act(Ipvsadm(node))) == count
    assert node.scripts == [f"ipvsadm {options}"]


def test_the_timeouts_are_asked_for() -> None:
    node = FakeNode(recorded("timeouts.txt"))
    assert Ipvsadm(node).timeouts() == Timeouts(900, 120, 300)
    assert node.scripts == ["ipvsadm -L -n --timeout"]


def test_what_cannot_work_is_refused_before_anything_runs() -> None:
    node = FakeNode()
    with pytest.raises(
        UsageError, match=r"TCP \[fd00::10\]:80: real server 10\.0\.1\.12:80 is of the other address family"
    ):
        Ipvsadm(node).add_server(SERVICE, RealServer("10.0.1.12", 80, PacketForwarding.MASQ))
    with pytest.raises(UsageError, match="director: udp timeout 2678401 s is outside"):
        Ipvsadm(node).set_timeouts(udp=31 * 86400 + 1)
    assert node.scripts == []
