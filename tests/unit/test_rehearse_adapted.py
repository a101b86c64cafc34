"""Checks that no stand-in can satisfy: replaced, and said; or satisfied by what the plan gives."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.reading.ldirectord import read_ldirectord
from lvslab.rehearse.adapted import with_connects, without_digests
from lvslab.rehearse.deaths import together, victims
from lvslab.rehearse.farm_program import dns_answer
from lvslab.rehearse.files import LDIRECTORD_CF, read_paths
from lvslab.rehearse.formula import Death
from lvslab.rehearse.staging import Prepared, prepared

BODY = "all is well\n"
DIGEST = hashlib.md5(BODY.encode(), usedforsecurity=False).hexdigest()
OTHER = "640205b7b0fc66c1ea91c463fac6334d"

KEEPALIVED = f"""
virtual_server 10.9.0.10 80 {{
    lvs_method NAT
    protocol TCP
    real_server 10.9.7.11 80 {{
        HTTP_GET {{
            url {{
                path /fit
                digest {DIGEST}
            }}
            url {{
                path /other
                digest {OTHER}
            }}
        }}
    }}
}}
"""

LDIRECTORD = """checkinterval=3
virtual=10.9.0.33:3306
\treal=10.9.1.41:3306 gate
\tservice=mysql
\tchecktype=negotiate
\tscheduler=wrr
\tprotocol=tcp
virtual=10.9.0.21:ftp
\treal=10.9.1.61:ftp masq
\tprotocol=tcp
virtual=10.9.0.53:53
\treal=10.9.1.21:53 gate
\tservice=dns
\trequest="www.example.org"
\treceive="10.9.9.9"
\tprotocol=udp
virtual=10.9.0.80:80
\treal=10.9.1.31:80 gate
\tservice=http
\trequest="fit.txt"
\treceive="fit"
\tprotocol=tcp
virtual=10.9.0.99:3306
\treal=10.9.1.41:3306 gate
\tchecktype=on
\tprotocol=tcp
"""


def _prepared(folder: Path, name: str, text: str, plan: str = "") -> Prepared:
    (folder / name).write_text(text)
    paths = [folder / name]
    if plan:
        paths.append(folder / "plan.toml")
        paths[-1].write_text(plan)
    return prepared(*read_paths(paths))


def test_a_digest_is_compared_where_its_page_is_given_and_else_taken_out() -> None:
    text, notes = without_digests(KEEPALIVED, [])
    assert f"# digest {DIGEST}" in text
    assert f"# digest {OTHER}" in text
    assert len(text.splitlines()) == len(KEEPALIVED.splitlines()), "line numbers stay"
    assert [note.partition(":")[0] for note in notes] == [f"digest {DIGEST}", f"digest {OTHER}"]
    text, notes = without_digests(KEEPALIVED, [BODY])
    assert f"                digest {DIGEST}\n" in text
    assert f"# digest {OTHER}" in text
    assert len(notes) == 1


def test_a_plan_gives_pages(tmp_path: Path) -> None:
    (tmp_path / "fit.html").write_text(BODY)
    stage = _prepared(tmp_path, "keepalived.conf", KEEPALIVED, '[pages."/fit"]\nfile = "fit.html"\n')
    assert all(("/fit", 200, BODY) in listener.pages for listener in stage.listeners)
    assert f"                digest {DIGEST}\n" in stage.directors[0].files["/etc/keepalived/keepalived.conf"]
    assert any(OTHER in line for line in stage.lines())
    assert not any(DIGEST in line for line in stage.lines())


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ('[pages."/fit"]\nfile = "none.html"\n', "none.html cannot be read"),
        ('[pages."fit"]\nfile = "fit.html"\n', "give file, the name of a file"),
        ('[pages."/fit"]\nbody = "x"\n', "give file, the name of a file"),
    ],
)
def test_a_page_that_cannot_be_is_refused(tmp_path: Path, plan: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _prepared(tmp_path, "keepalived.conf", KEEPALIVED, plan)


def test_what_ldirectord_negotiates_with_no_stand_in_only_connects(tmp_path: Path) -> None:
    text, notes = with_connects(LDIRECTORD, read_ldirectord(LDIRECTORD))
    assert [note.partition(":no")[0].split(": no")[0] for note in notes] == [
        "virtual=10.9.0.33:3306",
        "virtual=10.9.0.21:ftp",
    ]
    before, after = read_ldirectord(LDIRECTORD), read_ldirectord(text)
    assert [pool.services for pool in after.pools] == [pool.services for pool in before.pools]
    kinds = [[check.kind for each in pool.servers for check in each.checks] for pool in after.pools]
    assert kinds == [["tcp"], ["tcp"], ["dns"], ["http"], []]
    assert not after.unclear
    assert with_connects(text, after) == (text, []), "nothing is left to replace"
    (director,) = _prepared(tmp_path, "ldirectord.cf", LDIRECTORD).directors
    assert director.files[LDIRECTORD_CF] == text
    assert director.notes[-2:] == tuple(notes)


def test_a_name_server_answers_the_address_that_its_check_wants(tmp_path: Path) -> None:
    from scapy.layers.dns import DNS, DNSQR

    stage = _prepared(tmp_path, "ldirectord.cf", LDIRECTORD)
    name_servers = [listener for listener in stage.listeners if listener.speaks == "dns"]
    assert name_servers
    assert all(("A", 0, "10.9.9.9") in listener.pages for listener in name_servers)
    question = bytes(DNS(id=7, qd=DNSQR(qname="www.example.org")))
    answer = DNS(dns_answer(question, "10.9.1.21:53", "10.9.9.9"))
    assert [record.type for record in answer.an] == [1, 16]
    assert answer.an[0].rdata == "10.9.9.9"
    assert DNS(dns_answer(question, "10.9.1.21:53")).ancount == 1


def test_ldirectord_checks_in_turn_and_one_waits_for_the_others(tmp_path: Path) -> None:
    """15 s between rounds, two failures: a killed name server keeps each round for 10 s."""
    text = "checkinterval=15\nfailurecount=2\nnegotiatetimeout=10\n" + LDIRECTORD.partition("\n")[2]

    def killed(text: str) -> dict[str, float | None]:
        stage = _prepared(tmp_path, "ldirectord.cf", text)
        group = together(victims(stage.directors, stage.marks, Death.KILLED))
        return {victim.address: victim.promised for victim in group}

    in_turn, alone = killed(text), killed("fork=yes\n" + text)
    assert in_turn["10.9.1.21"] == 15 + 2 * 10 + 15
    assert in_turn["10.9.1.31"] == 15 + 15 + 2 * 10, "it waits for the name server's attempts"
    assert alone == {**in_turn, "10.9.1.31": 15 + 15, "10.9.1.61": 15 + 15}
