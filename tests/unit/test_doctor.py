"""The doctor on evidence that was recorded in real labs: silent on the healthy ones, and right when
one thing is changed in them.

tests/lab/record_doctor.py records; tests/lab/test_training.py has the doctor look at labs that are
really broken.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.doctor import gather
from lvslab.doctor.diagnose import RULES, diagnose, report
from lvslab.doctor.evidence import Evidence, Ipvs
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import rules, source_addresses
from lvslab.doctor.parse import parse_machine
from lvslab.errors import CannotError, LabError
from lvslab.host.completed import Completed
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Timeouts
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService
from lvslab.modes.base import Role
from lvslab.reading.network import Route
from lvslab.reading.sections import MARK
from tests.unit.doctor_dumps import REVERSE, every_dump
from tests.unit.doctor_evidence import (
    RECORDED,
    VIP,
    changed,
    director_alone,
    found,
    machine,
    recorded,
    syn_flood,
    with_ipvs,
    with_route,
)
from tests.unit.doctor_faults import BROKEN
from tests.unit.doctor_harmless import HARMLESS


@pytest.mark.parametrize("file", RECORDED, ids=[each.stem for each in RECORDED])
def test_nothing_is_found_in_a_healthy_lab(file: Path) -> None:
    evidence = recorded(file.stem)
    assert found(evidence) == []
    assert not [line for each in evidence.machines for line in each.unread]


def test_all_is_read_that_the_rules_look_at() -> None:
    evidence = recorded("nat")
    lvs, rs1 = machine(evidence, "lvs"), machine(evidence, "rs1")
    assert lvs.ipvs is not None
    assert [service.name for service in lvs.ipvs.services] == [
        "TCP 10.0.0.10:80",
        "TCP 10.0.0.10:5201",
        "UDP 10.0.0.10:5300",
    ]
    assert lvs.ipvs.timeouts == Timeouts(900, 120, 300)
    assert len([each for each in lvs.ipvs.connections if each.virtual == Endpoint(VIP, 80)]) == 4
    assert lvs.ipvs.active["TCP 10.0.0.10:80", "10.0.1.11:8080"] == 2
    assert lvs.takes(VIP) and lvs.has("10.0.1.1") and not lvs.has("10.0.1.11")
    assert lvs.sysctl("net.ipv4.ip_forward") == 1 and lvs.sysctl("net.ipv4.vs.conn_reuse_mode") == 1
    assert rs1.paths["10.0.1.11", "10.0.0.101"] == Route("unicast", "10.0.0.101", "rs1-eth0", via="10.0.1.1")
    assert any(each.is_open and each.local == Endpoint("0.0.0.0", 8080) for each in rs1.sockets)
    assert rs1.ipvs is None and "nginx" in rs1.programs
    assert evidence.clients() == ("10.0.0.101",)
    snat = next(rules(machine(recorded("fullnat"), "lvs"), "nat", "POSTROUTING"))
    assert (snat.target, source_addresses(snat)) == ("SNAT", ["10.0.1.201", "10.0.1.202"])
    pair = recorded("pair")
    daemons = {each.name: [one.role for one in each.ipvs.daemons] for each in pair.directors if each.ipvs}
    assert daemons == {"lvs1": ["master"], "lvs2": ["backup"]}
    assert next(link for link in machine(recorded("tun"), "rs1").links if link.name == "tunl0").kind == "ipip"


@pytest.mark.parametrize("case", BROKEN)
def test_one_thing_changed_is_found_as_what_it_is(case: str) -> None:
    name, fault, change = BROKEN[case]
    first, *others = diagnose(change(recorded(name)))
    assert first.fault == fault, [first, *others]
    assert not others, others
    assert first.evidence and first.fix and first.sentence.endswith(".")
    assert all(
        line.partition(":")[0] in {each.name for each in recorded(name).machines} for line in first.evidence
    )


def test_every_rule_has_a_case() -> None:
    """A rule that no case makes speak is not tested; the one on sessions has tests of its own."""
    changed_evidence = [change(recorded(name)) for name, _, change in BROKEN.values()] + every_dump()
    silent = [
        rule.__name__ for rule in RULES if not any(list(rule(evidence)) for evidence in changed_evidence)
    ]
    assert silent == ["persistence_missing"]


def test_the_manual_knows_every_fault() -> None:
    manual = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text()
    of_dumps = {fault.split()[0] for _, _, faults in REVERSE.values() for fault in faults}
    faults = {"persistence-missing", *of_dumps, *(fault for _, fault, _ in BROKEN.values())}
    assert [fault for fault in sorted(faults) if f"`{fault}`" not in manual] == []


@pytest.mark.parametrize("case", HARMLESS)
def test_what_only_looks_like_a_fault_is_passed_over(case: str) -> None:
    name, change = HARMLESS[case]
    assert found(change(recorded(name))) == []


def test_the_surest_comes_first_and_each_fault_once() -> None:
    flooded = with_ipvs(recorded("nat"), connections=syn_flood(200))
    both = with_route(
        with_route(flooded, "rs1", "10.0.1.11", via="10.0.1.254"), "rs2", "10.0.1.12", via="10.0.1.254"
    )
    findings = diagnose(both)
    assert [each.fault for each in findings] == ["wrong-gateway", "syn-flood"]
    assert findings[0].fix == (
        "rs1# ip route replace default via 10.0.1.1",
        "rs2# ip route replace default via 10.0.1.1",
    )


def test_the_report_is_what_json_shows() -> None:
    evidence = changed(recorded("nat"), "rs1", unread=("ipvsadm: not for you",))
    shown = report(with_route(evidence, "rs2", "10.0.1.12", via="10.0.1.254"))
    assert json.loads(json.dumps(shown)) == shown
    (finding,) = shown["findings"]
    assert (finding["name"], finding["verdict"], finding["certainty"]) == ("wrong-gateway", "fail", "certain")
    assert shown["unread"] == ["rs1: ipvsadm: not for you"] and shown["packets"] is None
    assert shown["machines"] == ["c1", "lvs", "rs1", "rs2"]


def test_a_finding_says_how_sure_it_is() -> None:
    assert Finding("x", "It is.", (), (), Certainty.LIKELY).to_json()["certainty"] == "likely"


def test_a_director_alone_shows_what_is_wrong_with_itself() -> None:
    alone = director_alone(recorded("nat"))
    assert found(alone) == []
    assert found(
        changed(
            alone,
            "lvs",
            sysctls={f"net.ipv4.conf.{link}.forwarding": "0" for link in ("lvs-eth0", "lvs-eth1")},
        )
    ) == ["ip-forward-off"]


def test_the_backup_of_a_pair_alone_lacks_the_address_rightly() -> None:
    pair = recorded("pair")
    backup = next(each for each in pair.directors if not each.takes(VIP))
    alone = replace(pair, machines=(backup,))
    assert found(alone) == []
    assert found(changed(alone, backup.name, programs=frozenset())) == ["vip-not-local"]


def test_an_ordinary_user_sees_the_table_and_is_told_what_was_refused() -> None:
    text = "\n".join(
        [
            f"{MARK}files",
            "grep: /proc/sys/net/ipv4/vs/secret: Permission denied",
            "/proc/sys/net/ipv4/ip_forward:0",
            "/proc/net/ip_vs:IP Virtual Server version 1.2.1 (size=4096)",
            "/proc/net/ip_vs:Prot LocalAddress:Port Scheduler Flags",
            "/proc/net/ip_vs:  -> RemoteAddress:Port Forward Weight ActiveConn InActConn",
            "/proc/net/ip_vs:TCP  0A00000A:0050 wrr persistent 60 FFFFFFFF",
            "/proc/net/ip_vs:  -> 0A00010C:1F90      Masq    3      1          2         ",
            f"{MARK}ip",
            '[{"ifname":"lo","flags":["UP","LOWER_UP"],"addr_info":[{"family":"inet","local":"10.0.0.10","prefixlen":32}]}]',
            '[{"type":"local","dst":"10.0.0.10","dev":"lo","table":"local"}]',
            f"{MARK}table",
            "Can't initialize ipvs: Permission denied (you must be root)",
        ]
    )
    director = parse_machine("me", Role.DIRECTOR, text)
    assert director.ipvs == Ipvs(
        services=(
            VirtualService(
                Protocol.TCP,
                VIP,
                80,
                scheduler=Scheduler.WRR,
                persistence_timeout=60,
                real_servers=(RealServer("10.0.1.12", 8080, PacketForwarding.MASQ, 3),),
            ),
        ),
        active={("TCP 10.0.0.10:80", "10.0.1.12:8080"): 3},
    )
    assert director.unread == (
        "/proc/sys/net/ipv4/vs/secret: Permission denied",
        "ipvsadm: Can't initialize ipvs: Permission denied (you must be root)",
    )
    assert found(Evidence((director,))) == ["ip-forward-off"]


def test_a_machine_without_ip_vs_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match=r"its kernel has no IP virtual server .*; .* modprobe ip_vs"):
        gather.require_ipvs(tmp_path / "ip_vs")
    (tmp_path / "ip_vs").touch()
    gather.require_ipvs(tmp_path / "ip_vs")


def test_a_machine_that_does_not_answer_is_named() -> None:
    class Dead:
        def run(self, script: str, *, timeout: float = 30.0) -> Completed:
            return Completed(127, "", "sh: not found")

    with pytest.raises(LabError, match="rs9"):
        gather.read([("rs9", Role.REAL_SERVER, Dead())])
