"""Where what files name stands in the lab of a rehearsal, and how its tables are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.errors import CommandError, LabError
from lvslab.rehearse.deaths import victims
from lvslab.rehearse.files import read_paths
from lvslab.rehearse.formula import Death
from lvslab.rehearse.lab import steady
from lvslab.rehearse.staging import Prepared, prepared


def _prepared(folder: Path, text: str) -> Prepared:
    (folder / "keepalived.conf").write_text(text)
    return prepared(*read_paths([folder / "keepalived.conf"]))


def test_other_addresses_of_servers_answer_their_checks_and_die_with_them(tmp_path: Path) -> None:
    text = """virtual_server 10.9.0.10 80 {
        protocol TCP
        real_server 10.9.7.11 80 { TCP_CHECK { connect_ip 10.9.50.11
                                               connect_port 81
                                               bindto 10.9.50.2 } }
        real_server 10.9.7.12 80 { TCP_CHECK { connect_ip 10.9.60.1 } }
        real_server 10.9.7.13 80 { TCP_CHECK { connect_ip 10.9.60.1 } }
    }"""
    found = _prepared(tmp_path, text)
    assert {seat.address: seat.of for seat in found.seats.values() if seat.of} == {"10.9.50.11": "10.9.7.11"}
    names = {(listener.address, listener.port): listener.server for listener in found.listeners}
    assert names["10.9.50.11", 81] == "10.9.7.11:80"
    assert names["10.9.60.1", 80] == "10.9.60.1:80", "a machine of its own: several are judged by it"
    promised = {victim.address: victim.promised for victim in victims(found.directors, {}, Death.KILLED)}
    assert promised == {"10.9.7.11": 61.0, "10.9.7.12": None, "10.9.7.13": None}
    own = [address for port in found.network.ports["lvs"] for address in port.addresses]
    assert "10.9.50.2/24" in own and len({each.partition("/")[0] for each in own}) == len(own)


def test_a_real_server_with_a_virtual_address_is_the_director_itself(tmp_path: Path) -> None:
    text = "virtual_server 10.9.0.10 80 {\n protocol TCP\n real_server 10.9.0.10 81 {\n }\n}\n"
    found = _prepared(tmp_path, text)
    assert found.seats["10.9.0.10"].is_local
    assert {(listener.node, listener.port) for listener in found.listeners} == {("lvs", 81)}


def test_a_table_that_changes_while_it_is_listed_is_read_again() -> None:
    answers: list[LabError | None] = [LabError("real server is there twice"), None]

    def read() -> tuple[()]:
        error = answers.pop(0)
        if error:
            raise error
        return ()

    assert steady(read) == () and not answers
    answers[:] = [LabError("unknown option")] * 5
    with pytest.raises(LabError, match="unknown option"):
        steady(read)
    answers[:] = [CommandError("lvs", "ipvsadm -S", 127, ""), None]
    with pytest.raises(CommandError):
        steady(read)
    assert len(answers) == 1, "nothing else is tried again"
