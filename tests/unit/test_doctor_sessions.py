"""Sessions that a capture shows: a login at one server, and the next request at another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lvslab.doctor.diagnose import diagnose
from lvslab.doctor.evidence import (
    Evidence,
    Packet,
)
from lvslab.doctor.finding import Certainty
from tests.unit.doctor_evidence import found, of_http, recorded, with_table


def _talk(server: str, rip: str, port: int, asked: str, answered: str) -> list[Packet]:
    ends = ("10.0.0.101", port, rip, 8080)
    back = (rip, 8080, "10.0.0.101", port)
    link = f"{server}-eth0"
    return [
        Packet(server, link, False, "TCP", *ends, flags="PA", body=asked.encode()),
        Packet(server, link, True, "TCP", *back, flags="PA", body=answered[:15].encode()),
        Packet(server, link, True, "TCP", *back, flags="PA", body=answered[15:].encode()),
    ]


_LOGIN = _talk(
    "rs1",
    "10.0.1.11",
    4001,
    "GET /login HTTP/1.1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nSet-Cookie: id=5f3a9c21d7\r\n\r\n",
)
_AWAY = ("rs2", "10.0.1.12", 4002, "GET /home HTTP/1.1\r\nCookie: id=5f3a9c21d7\r\n\r\n")


def _with_packets(*packets: Packet) -> Evidence:
    return replace(recorded("nat"), packets=packets)


def test_a_session_that_another_server_does_not_know() -> None:
    refused = _talk(*_AWAY, "HTTP/1.1 403 Forbidden\r\n\r\nwho are you?")
    (finding,) = diagnose(_with_packets(*_LOGIN, *refused))
    assert (finding.fault, finding.certainty) == ("persistence-missing", Certainty.LIKELY)
    assert finding.fix == ("lvs# ipvsadm -E -t 10.0.0.10:80 -s rr -p 300",)


@pytest.mark.parametrize(
    "talk",
    [
        _talk(*_AWAY, "HTTP/1.1 200 OK\r\n\r\nwelcome back"),
        _talk(*_AWAY, "HTTP/1.1 404 Not Found\r\n\r\nno such page"),
        _talk(*_AWAY[:3], "GET /home HTTP/1.1\r\n\r\n", "HTTP/1.1 403 Forbidden\r\n\r\n"),
        _talk("rs1", "10.0.1.11", 4003, _AWAY[3], "HTTP/1.1 403 Forbidden\r\n\r\n"),
    ],
    ids=["known everywhere", "no such page", "nothing shown", "refused by its own server"],
)
def test_no_session_is_lost(talk: list[Packet]) -> None:
    assert found(_with_packets(*_LOGIN, *talk)) == []


def test_a_persistent_service_keeps_its_sessions() -> None:
    evidence = with_table(
        _with_packets(*_LOGIN, *_talk(*_AWAY, "HTTP/1.1 403 Forbidden\r\n\r\n")),
        of_http(lambda each: replace(each, persistence_timeout=60)),
    )
    assert found(evidence) == []
