"""A rehearsal of many services: how it is arranged, what it says of its time, how it is read."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.host.scripts import shell_arguments
from lvslab.rehearse.deaths import Wish, mortal, rounds
from lvslab.rehearse.duration import durations, sentence
from lvslab.rehearse.files import read_paths
from lvslab.rehearse.formula import Death
from lvslab.rehearse.judging import lateness, of_group
from lvslab.rehearse.staging import Prepared, prepared
from lvslab.report.rehearsal import MOST_ROWS, proof_rows, rows, write_page
from lvslab.runs.outage import Attempt
from lvslab.runs.rehearsal import Answers, Notice, Proof, Verdict
from tests.large_files import write_pair


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared(*read_paths(write_pair(tmp_path_factory.mktemp("pair"), 60, 5)))


@pytest.mark.parametrize("death", Death)
def test_300_servers_of_60_services_die_in_as_many_rounds_as_a_service_has_servers(
    large: Prepared, death: Death
) -> None:
    servers = mortal(large.directors, large.seats, large.marks, death)
    assert len(servers) == 300
    groups = rounds(servers)
    assert [len(group) for group in groups] == [60] * 5
    assert of_group(groups[0], death).startswith("60 servers without a common service, ")
    shared = [replace(server, doors=servers[0].doors) for server in servers[:3]]
    assert len(rounds(shared)) == 3, "those of one service die one after the other"


def test_servers_that_stay_unnoticed_for_long_die_together(large: Prepared) -> None:
    quick, *_ = mortal(large.directors, large.seats, large.marks, Death.KILLED)
    doors = [*quick.doors, *large.directors[0].doors(large.marks)][::-1][:2]
    victims = [replace(quick, doors=(door,), promised=promised) for door in doors for promised in (2.0, 60.0)]
    groups = rounds([victims[0], victims[3], victims[1], victims[2]])
    assert [[victim.promised for victim in group] for group in groups] == [[60.0, 60.0], [2.0, 2.0]]


def test_the_time_is_told_before_anything_starts(large: Prepared) -> None:
    def seconds(wish: Wish) -> dict[str, float]:
        return dict(durations(large.directors, large.seats, large.marks, wish))

    everything = seconds(Wish())
    assert sum(everything.values()) < 620, "60 services and 300 servers take ten minutes"
    # five rounds: 6 s until a check, two more after 2 s each, 3 s of looking, 9 s until all is back
    assert everything["servers killed, 5 rounds"] == pytest.approx(5 * (6 + 4 + 3 + 9), abs=5)
    assert set(seconds(Wish((), all_dead=False, directors=False))) == {"start"}
    assert large.duration(Wish()).startswith("takes some 10 min (start: ")
    assert sentence([("a", 99.0), ("b", 121.0)]) == "takes some 4 min (a: 99 s; b: 2 min)"


def _notice(number: int, outage: float, kind: str = "killed") -> Notice:
    return Notice(
        f"10.0.0.{number}:80 killed", "TCP 10.0.0.1:80", outage, True, 20, 3, 0.1, promised=4.0, kind=kind
    )


def test_many_faults_are_read_by_kind_and_those_that_fail_one_by_one() -> None:
    few = Answers(notices=tuple(_notice(number, 1.0) for number in range(MOST_ROWS)))
    assert len(rows(few)) == MOST_ROWS
    many = Answers(notices=(*few.notices, _notice(97, 3.0), _notice(98, 9.0), _notice(99, 1.0, "hung")))
    assert rows(many) == [
        ("41 × killed", "1 service", "at most 3/20 failed, 3.0 s", "4.0 s"),
        ("10.0.0.98:80 killed", "TCP 10.0.0.1:80", "3/20 failed, 9.0 s", "4.0 s"),
        ("10.0.0.99:80 killed", "1 service", "at most 3/20 failed, 1.0 s", "4.0 s"),
    ]


def test_many_faults_that_are_for_the_user_to_judge_share_a_row() -> None:
    alone = [
        replace(_notice(number, 9.0, "all"), alone=True, ended=False, fault="all its servers killed")
        for number in range(MOST_ROWS + 1)
    ]
    assert {notice.verdict for notice in alone} == {"unknown"}
    assert rows(Answers(notices=tuple(alone))) == [
        ("all its servers killed", "1 service", "at most 3/20 failed: nobody else serves", "4.0 s")
    ]


def test_many_services_that_serve_are_one_row_and_the_others_are_named(tmp_path: Path) -> None:
    def proof(number: int, verdict: Verdict) -> Proof:
        return Proof(f"TCP 10.0.0.{number}:80", verdict, 20, 0, {}, f"as {number} has it")

    few = Answers(proofs=tuple(proof(number, "pass") for number in range(MOST_ROWS)))
    assert len(proof_rows(few)) == MOST_ROWS
    many = Answers(proofs=(*few.proofs, proof(98, "fail"), proof(99, "pass")))
    assert proof_rows(many) == [
        ("TCP 10.0.0.98:80", "FAIL", "as 98 has it"),
        ("41 services", "PASS", "all their users served"),
    ]
    page = write_page(tmp_path, many).read_text()
    opener = "41 of 42 services serve all their users"
    assert page.index("as 98 has it") < page.index(opener) < page.index("as 99 has it")
    assert "serve all their users" not in write_page(tmp_path, few).read_text()


def test_the_latest_tenth_of_the_users_says_whether_a_machine_can_make_them() -> None:
    def attempts(late: float, share: int) -> list[Attempt]:
        return [
            Attempt(n, n + (late if n % 100 < share else 0.0), None, None, n + 1.0, None, "", "ok")
            for n in range(200)
        ]

    assert lateness(attempts(2.0, 20)) == 2.0
    assert lateness(attempts(2.0, 5)) == 0.0
    assert lateness([]) == 0.0


def test_a_script_of_any_length_reaches_a_shell(tmp_path: Path) -> None:
    script = f"cat <<'END' | wc -c\n{'x' * 200_000}\nEND\n"
    with pytest.raises(OSError, match="too long"):
        subprocess.run(["/bin/sh", "-c", script], check=True)
    for text, said in ((script, "200001"), ("echo 1", "1")):
        with shell_arguments(text, tmp_path) as arguments:
            done = subprocess.run(["/bin/sh", *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said
    assert not list(tmp_path.iterdir()), "nothing stays behind"
