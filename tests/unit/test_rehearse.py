"""A rehearsal before anything starts: files, networks, seats, promises, comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lvslab.errors import UsageError
from lvslab.ipvs.rules import parse_rules
from lvslab.ipvs.service import PacketForwarding, Protocol
from lvslab.kernels.needs import any_kernel
from lvslab.reading.configured import Page, ServerCheck
from lvslab.reading.vrrp import Vrrp
from lvslab.rehearse.changing import changes_of, united
from lvslab.rehearse.deaths import Victim, rounds, shown, victims
from lvslab.rehearse.director import Door, Manager
from lvslab.rehearse.farm_program import dns_answer
from lvslab.rehearse.files import read_paths
from lvslab.rehearse.formula import Death, notice, recovery, takeover
from lvslab.rehearse.marks import marks_of
from lvslab.rehearse.seats import SERVERS
from lvslab.rehearse.staging import Prepared, prepared
from lvslab.rehearse.tables import changed, differences, weights
from lvslab.report.rehearsal import rows
from lvslab.runs.rehearsal import Answers, Change, Notice, Reload

KEEPALIVED = """
vrrp_instance FRONT {
    interface ens1
    virtual_router_id 5
    priority 150
    advert_int 1
    virtual_ipaddress {
        10.9.0.10/24
        10.9.7.1/24 dev ens2
    }
}
virtual_server 10.9.0.10 80 {
    delay_loop 2
    lvs_sched wrr
    lvs_method NAT
    protocol TCP
    sorry_server 127.0.0.1 81
    real_server 10.9.7.11 8080 {
        weight 3
        HTTP_GET {
            url {
                path /ping
                status_code 200
            }
            connect_timeout 1
            retry 2
            delay_before_retry 1
        }
    }
    real_server 10.9.7.12 8080 {
        TCP_CHECK {
            connect_timeout 1
        }
    }
}
virtual_server 10.9.0.10 25 {
    lvs_method DR
    protocol TCP
    real_server 10.9.0.21 25 {
        SMTP_CHECK {
        }
    }
}
virtual_server fd00:9::10 53 {
    lvs_method TUN
    protocol UDP
    real_server 10.9.8.31 53 {
    }
}
"""


def _prepared(folder: Path, text: str = KEEPALIVED, **others: str) -> Prepared:
    (folder / "keepalived.conf").write_text(text)
    paths = [folder / "keepalived.conf"]
    for name, other in others.items():
        paths.append(folder / name.replace("_", "."))
        paths[-1].write_text(other)
    return prepared(*read_paths(paths))


# -- files -----------------------------------------------------------------------------------------


def test_a_keepalived_conf_is_a_director(tmp_path: Path) -> None:
    (director,) = _prepared(tmp_path).directors
    assert director.manager is Manager.KEEPALIVED
    assert [service.name for service in director.services] == [
        "TCP 10.9.0.10:80",
        "TCP 10.9.0.10:25",
        "UDP [fd00:9::10]:53",
    ]
    assert list(director.files) == ["/etc/keepalived/keepalived.conf"]


def test_folders_are_directors(tmp_path: Path) -> None:
    for name in ("lvs1", "LVS-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keepalived.conf").write_text(KEEPALIVED)
    directors, _ = read_paths([tmp_path])
    assert sorted(director.name for director in directors) == ["lvs1", "lvs2"]


def test_conditional_lines_are_directors(tmp_path: Path) -> None:
    text = KEEPALIVED.replace("    priority 150", "@one priority 150\n@two priority 90")
    directors = _prepared(tmp_path, text).directors
    assert [(each.name, each.instances[0].priority) for each in directors] == [("one", 150), ("two", 90)]


def test_included_files_are_taken_along(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/a.conf").write_text(KEEPALIVED)
    (director,) = _prepared(tmp_path, "include conf.d/*.conf\nglobal_defs {\n}\n").directors
    assert "/etc/keepalived/conf.d/a.conf" in director.files
    assert len(list(director.services)) == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe\x00", "is no text"),
        (b"hello\n", "is none of what a rehearsal reads"),
        (b"net.ipv4.vs.conntrack = 1\n", "holds no keepalived.conf"),
        (b"global_defs {\n}\n", "describe no virtual service"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: bytes, says: str) -> None:
    file = tmp_path / "some.conf"
    file.write_bytes(text)
    with pytest.raises(UsageError, match=says) as refusal:
        prepared(*read_paths([file]))
    assert "\n" not in str(refusal.value)


def test_a_plan_says_what_files_cannot(tmp_path: Path) -> None:
    first = _prepared(tmp_path)
    plan = first.as_plan()
    assert '"ens1" = ["10.9.0.' in plan
    edited = plan.replace('"ens1" = ["10.9.0.2/24"', '"ens1" = ["10.9.0.77/24"')
    assert edited != plan
    second = _prepared(tmp_path, plan_toml=edited)
    assert second.network.director_address("lvs", second.network.net_of("10.9.0.10").name, 4) == "10.9.0.77"


def test_a_plan_with_unknown_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'nodes' is no part of a plan"):
        _prepared(tmp_path, plan_toml="[nodes.a]\n")


# -- network ---------------------------------------------------------------------------------------


def test_addresses_stay_and_networks_are_guessed(tmp_path: Path) -> None:
    network = _prepared(tmp_path).network
    assert network.net_of("10.9.0.10") is network.net_of("10.9.0.21")
    ports = {port.interface: port for port in network.ports["lvs"]}
    assert set(ports) >= {"ens1", "ens2"}
    assert ports["ens2"].net == network.net_of("10.9.7.11").name
    assert any("10.9.8.0/24" in guess for guess in network.guesses)


def test_no_address_is_given_twice(tmp_path: Path) -> None:
    found = _prepared(tmp_path)
    ours = [
        address.partition("/")[0]
        for addresses in (
            *found.network.routers.values(),
            found.network.clients,
            *(port.addresses for port in found.network.ports["lvs"]),
        )
        for address in addresses
    ]
    theirs = set(found.seats) | {door.address for door in found.directors[0].doors({})}
    assert len(set(ours)) == len(ours)
    assert not set(ours) & theirs


def test_servers_sit_where_their_packets_come(tmp_path: Path) -> None:
    found = _prepared(tmp_path)
    assert found.seats["10.9.7.11"].node == SERVERS and not found.seats["10.9.7.11"].tunnel
    assert found.seats["10.9.8.31"].tunnel
    assert found.seats["127.0.0.1"].is_local
    at = {(listener.server, listener.address, listener.port): listener for listener in found.listeners}
    assert at["10.9.7.11:8080", "10.9.7.11", 8080].speaks == "http"
    assert at["10.9.0.21:25", "10.9.0.10", 25].device == found.seats["10.9.0.21"].device
    assert at["10.9.8.31:53", "fd00:9::10", 53].protocol == "udp"


def test_a_stage_needs_no_machine(tmp_path: Path) -> None:
    stage = _prepared(tmp_path).stage(any_kernel())
    director = stage.lab.node("lvs")
    lines = "\n".join(action.plain() for step in director.network_steps for action in step.actions)
    assert "name ens1" in lines and "address add fd00:9::10/128 dev" in lines
    assert "address add 10.9.0.10" not in lines, "VRRP brings it"


# -- marks -----------------------------------------------------------------------------------------


def test_marks_are_read_from_the_rules() -> None:
    rules = (
        "*mangle\n-A PREROUTING -d 10.0.0.1/32 -p tcp -m tcp --dport 21 -j MARK --set-xmark 0x15/0xffffffff\n"
        "-A PREROUTING -d 10.0.0.1/32 -p udp -m udp --dport 30:40 -j MARK --set-mark 7\n"
        "-A PREROUTING -p tcp -j MARK --set-mark 8\nCOMMIT\n"
    )
    assert marks_of(rules) == {
        21: [Door(Protocol.TCP, "10.0.0.1", 21)],
        7: [Door(Protocol.UDP, "10.0.0.1", 30)],
    }


# -- tables ----------------------------------------------------------------------------------------

RULES = "-A -t 10.0.0.1:80 -s wrr\n-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 11\n"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (RULES, []),
        ("", ["TCP 10.0.0.1:80 is missing"]),
        (
            RULES.replace("11", "0"),
            ["TCP 10.0.0.1:80: real server 10.0.1.1:80 is -m -w 0, wanted is -m -w 11"],
        ),
        (RULES.replace("wrr", "rr"), ["TCP 10.0.0.1:80 is -s rr, wanted is -s wrr"]),
        (
            RULES + "-a -t 10.0.0.1:80 -r 10.0.1.9:80 -m -w 1\n",
            ["TCP 10.0.0.1:80: real server 10.0.1.9:80 is there (-m -w 1), and nobody asked for it"],
        ),
        (RULES + "-A -u 10.0.0.1:53 -s rr\n", ["UDP 10.0.0.1:53 is there, and nobody asked for it"]),
    ],
)
def test_differences_are_said(there: str, said: list[str]) -> None:
    assert list(differences(parse_rules(RULES), parse_rules(there))) == said


def test_changes_are_said() -> None:
    after = RULES.replace("11", "9").replace("wrr", "rr") + "-a -t 10.0.0.1:80 -r 10.0.1.9:80 -m -w 1\n"
    assert list(changed(parse_rules(RULES), parse_rules(after))) == [
        "TCP 10.0.0.1:80: -s wrr becomes -s rr",
        "TCP 10.0.0.1:80: real server 10.0.1.1:80: -m -w 11 becomes -m -w 9",
        "TCP 10.0.0.1:80: real server 10.0.1.9:80 added (-m -w 1)",
    ]
    assert list(changed(parse_rules(after), parse_rules(RULES)))[-1].endswith("10.0.1.9:80 removed")


def test_a_change_has_the_old_files_first_and_room_for_both(tmp_path: Path) -> None:
    old, new = tmp_path / "old.conf", tmp_path / "new.conf"
    old.write_text(KEEPALIVED)
    new.write_text(KEEPALIVED.replace("10.9.7.12 8080", "10.9.7.13 8080").replace("weight 3", "weight 4"))
    (before, plan), (after, _) = read_paths([old]), read_paths([new])
    stage = prepared(united(before, after), plan).stage(any_kernel(), directors=before)
    assert list(stage.directors) == before
    assert {"10.9.7.12", "10.9.7.13"} <= set(stage.seats)
    assert list(changes_of(stage.directors, after)) == [
        "TCP 10.9.0.10:80: real server 10.9.7.11:8080: -m -w 3 becomes -m -w 4",
        "TCP 10.9.0.10:80: real server 10.9.7.13:8080 added (-m -w 1)",
        "TCP 10.9.0.10:80: real server 10.9.7.12:8080 removed",
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (Change(), []),
        (Change(leftovers=("all up: after the reload x",)), ["all up: after the reload x"]),
        (
            Change(reloads=(Reload("all up", "TCP 10.0.0.1:80", 100, 0, 5, 2),)),
            ["all up: TCP 10.0.0.1:80: 2 of 5 connections broken"],
        ),
        (
            Change(reloads=(Reload("all up", "TCP 10.0.0.1:80", 100, 7, 5, 0),)),
            ["all up: TCP 10.0.0.1:80: 7 of 100 new users failed"],
        ),
    ],
)
def test_new_files_are_worse_where_users_notice(change: Change, says: list[str]) -> None:
    assert list(change.worse) == says


# -- promises --------------------------------------------------------------------------------------

TCP = ServerCheck("tcp", interval=5, timeout=3, retries=1, retry_interval=1)
HTTP = replace(TCP, kind="http", timeout=2)


@pytest.mark.parametrize(
    ("checks", "death", "seconds"),
    [
        ((TCP,), Death.KILLED, 6.0),
        ((TCP,), Death.SILENT, 12.0),
        ((TCP,), Death.HUNG, None),
        ((HTTP,), Death.HUNG, 10.0),
        ((TCP, HTTP), Death.SILENT, 10.0),
        ((replace(TCP, kind="ping"),), Death.KILLED, None),
        ((replace(TCP, kind="script"),), Death.KILLED, None),
        ((), Death.KILLED, None),
    ],
)
def test_a_file_promises_how_soon_a_death_shows(
    checks: tuple[ServerCheck, ...], death: Death, seconds: float | None
) -> None:
    assert notice(checks, death) == seconds


def test_takeover_is_three_adverts_and_the_skew() -> None:
    assert takeover(Vrrp("A", "eth0", 1, priority=100)) == pytest.approx(3 + 156 / 256)
    assert recovery((TCP,)) == 8
    pages = (Page("/a"), Page("/b"))
    assert recovery((replace(HTTP, pages=pages),)) == 2 * 5 + 2
    assert recovery((replace(HTTP, pages=pages, words={"fast_recovery": ""}),)) == 5 + 2


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "pass"),
        ({"outage": 30.0}, "fail"),
        ({"ended": False}, "fail"),
        ({"ended": False, "alone": True}, "unknown"),
        ({"failed": 0, "ended": True, "outage": 0.0, "alone": True}, "pass"),
        ({"failed": 0, "ended": True, "outage": 0.0, "promised": None}, "pass"),
    ],
)
def test_a_notice_is_judged_by_what_the_file_promises(change: dict[str, object], verdict: str) -> None:
    said = Notice("a killed", "TCP 10.0.0.1:80", 5.0, True, 100, 40, 0.05, 5.0, 6.0)
    assert replace(said, **change).verdict == verdict


# -- deaths ----------------------------------------------------------------------------------------


def test_newcomers_are_others_and_come_where_users_are_bound(tmp_path: Path) -> None:
    bound = KEEPALIVED.replace("lvs_sched wrr", "lvs_sched wrr\n    persistence_timeout 60")
    stage = _prepared(tmp_path, bound).stage(any_kernel())
    network = stage.network
    assert len(network.newcomers) == len(network.clients) and not {*network.newcomers} & {*network.clients}
    assert [door.name for door in stage.persistent_doors()] == ["TCP 10.9.0.10:80"]
    assert not _prepared(tmp_path).stage(any_kernel()).persistent_doors()
    notice = Notice("all", "TCP 10.9.0.10:80", 9.0, False, 9, 9, 0.1, newcomers="all 9 users served")
    assert notice.sentence.endswith("; newcomers: all 9 users served")
    ((_, _, noticed, _),) = rows(Answers(notices=(notice,)))
    assert noticed.endswith("; newcomers: all 9 users served")


def test_victims_die_by_program_or_by_machine(tmp_path: Path) -> None:
    directors = _prepared(tmp_path).directors
    killed = victims(directors, {}, Death.KILLED)
    assert [victim.names[0] for victim in killed] == [
        "10.9.7.11:8080",
        "10.9.7.12:8080",
        "10.9.0.21:25",
        "10.9.8.31:53",
    ]
    assert killed[0].promised == 4 and killed[3].promised is None
    table = weights(service for director in directors for service in director.services)
    assert not shown(killed[0], [table])
    assert shown(killed[0], [{**table, killed[0].rows[0]: 0}])
    assert not shown(killed[0], [{**table, killed[0].rows[0]: 0}, table])


@given(st.lists(st.sets(st.integers(0, 5), min_size=1), max_size=12))
def test_no_two_victims_of_a_round_share_users(doors: list[set[int]]) -> None:
    everyone = [
        Victim(
            f"10.0.0.{number}",
            (f"10.0.0.{number}:80",),
            (),
            tuple(Door(Protocol.TCP, "10.1.0.1", 1 + door) for door in sorted(own)),
            1.0,
        )
        for number, own in enumerate(doors)
    ]
    groups = rounds(everyone)
    assert sorted(victim.address for group in groups for victim in group) == sorted(
        victim.address for victim in everyone
    )
    for group in groups:
        users = [door for victim in group for door in victim.doors]
        assert len(set(users)) == len(users)


# -- servers ---------------------------------------------------------------------------------------


def test_a_dns_question_is_answered() -> None:
    from scapy.layers.dns import DNS, DNSQR

    answer = DNS(dns_answer(bytes(DNS(id=7, qd=DNSQR(qname="www.example.org"))), "10.0.0.1:53"))
    assert (answer.id, answer.qr, answer.rcode, answer.ancount) == (7, 1, 0, 1)
    assert b"10.0.0.1:53" in bytes(answer)


def test_nat_answers_through_the_director(tmp_path: Path) -> None:
    stage = _prepared(tmp_path).stage(any_kernel())
    lines = [action.plain() for step in stage.lab.node(SERVERS).network_steps for action in step.actions]
    assert any("via 10.9.7.1 dev" in line and " table " in line for line in lines), "the moving gateway"
    assert stage.seats["10.9.7.11"].forwarding is PacketForwarding.MASQ


def test_help_is_enough() -> None:
    from lvslab.cli import _group

    said = CliRunner().invoke(_group, ["rehearse", "--help"], terminal_width=80)
    assert said.exit_code == 0 and "keepalived.conf" in said.output


def test_a_service_without_a_protocol_is_udps(tmp_path: Path) -> None:
    """keepalived 2.2.7: "no protocol set - defaulting to UDP"."""
    directors = _prepared(tmp_path, KEEPALIVED.replace("    protocol TCP\n", "", 1)).directors
    assert next(directors[0].services).name == "UDP 10.9.0.10:80"
