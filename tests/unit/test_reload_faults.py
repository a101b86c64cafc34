"""Faults of keepalived's reload that its tracker has on record: what trials say of each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.ipvs.rules import parse_rules
from lvslab.rehearse.director import Director
from lvslab.rehearse.files import read_paths
from lvslab.rehearse.reload_faults import Reloaded, Trial, Tried, known_faults
from lvslab.report.rehearsal import known_rows
from lvslab.runs.rehearsal import Change, Reload

OLD = """
vrrp_instance FRONT {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        10.0.0.1/24
    }
}
virtual_server 10.0.0.1 80 {
    lvs_sched rr
    protocol TCP
    real_server 10.0.1.1 80 {
        weight 11
        TCP_CHECK {
        }
    }
    real_server 10.0.1.2 80 {
        TCP_CHECK {
        }
    }
}
"""
NEW = OLD.replace("weight 11", "weight 9").replace("10.0.1.2", "10.0.1.3")
FRESH = """\
-A -t 10.0.0.1:80 -s rr
-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 9
-a -t 10.0.0.1:80 -r 10.0.1.3:80 -m -w 1
"""


def _tried(folder: Path, old: str = OLD, new: str = NEW) -> Tried:
    """A change of a pair that went as it should."""

    def directors(text: str) -> list[Director]:
        (folder / "keepalived.conf").write_text(text)
        ((director,), _) = read_paths([folder / "keepalived.conf"])
        return [replace(director, name=name) for name in ("lvs1", "lvs2")]

    fresh = {name: parse_rules(FRESH) for name in ("lvs1", "lvs2")}
    tables = [Reloaded(trial, fresh, fresh) for trial in Trial]
    return Tried(directors(old), directors(new), [Reload("all up", "TCP", 9, 0, 5, 0)], tables, [])


def test_a_change_that_goes_well_is_free_of_all(tmp_path: Path) -> None:
    known = list(known_faults(_tried(tmp_path)))
    assert {each.number: each.verdict for each in known} == dict.fromkeys(
        (187, 479, 1228, 1354, 1720, 1904, 2159), "pass"
    )
    assert known_rows(Change(known=tuple(known)))[0][2:] == ("not here", "")


@pytest.mark.parametrize(
    ("number", "trial", "there", "says"),
    [
        (187, Trial.DOWN, FRESH.replace("-w 9", "-w 0"), "has weight 0 instead of 9"),
        (479, Trial.OFTEN, f"{FRESH}-a -t 10.0.0.1:80 -r 10.0.1.2:80 -m\n", "10.0.1.2:80 is still there"),
        (479, Trial.ALL_UP, f"{FRESH}-A -t 10.0.0.9:80 -s rr\n", "TCP 10.0.0.9:80 is still there"),
        (1354, Trial.ALL_UP, FRESH.replace("-w 9", "-w 11"), "has weight 11 instead of 9"),
        (1720, Trial.DOWN, FRESH.replace("-a -t 10.0.0.1:80 -r 10.0.1.1:80 -m -w 9\n", ""), "is missing"),
        (1904, Trial.OFTEN, "", "TCP 10.0.0.1:80 is missing"),
    ],
)
def test_each_is_seen_in_the_tables_of_its_trial(
    number: int, trial: Trial, there: str, says: str, tmp_path: Path
) -> None:
    tried = _tried(tmp_path)
    wrong = [
        replace(each, there={**each.there, "lvs2": parse_rules(there)}) if each.trial is trial else each
        for each in tried.tables
    ]
    shown = {
        each.number: each for each in known_faults(replace(tried, tables=wrong)) if each.verdict == "fail"
    }
    assert list(shown) == [number]
    assert says in shown[number].seen


def test_users_and_addresses_show_the_others(tmp_path: Path) -> None:
    tried = replace(
        _tried(tmp_path), reloads=[Reload("all up", "TCP", 9, 1, 5, 2)], moved=["10.0.0.1 has gone"]
    )
    shown = {each.number: each.seen for each in known_faults(tried) if each.verdict == "fail"}
    assert shown == {
        1228: "TCP: 1 of 9 users failed, 2 of 5 connections broken",
        2159: "10.0.0.1 has gone",
    }


def test_what_files_cannot_have_is_not_tried(tmp_path: Path) -> None:
    same = _tried(tmp_path, NEW)
    alone = replace(
        same,
        old=same.old[:1],
        new=same.new[:1],
        tables=[each for each in same.tables if each.trial is Trial.ALL_UP],
    )
    reasons = {each.number: each.seen for each in known_faults(alone) if each.verdict == "unknown"}
    assert reasons == {
        187: "no check watches a server here",
        1228: "no server leaves the file",
        1354: "no weight changes",
        1720: "no check watches a server here",
        1904: "no check watches a server here",
        2159: "no virtual address has a second director",
    }
