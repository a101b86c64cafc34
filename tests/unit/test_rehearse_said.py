"""What daemons say of their files, as users are told."""

from __future__ import annotations

import pytest

from lvslab.rehearse.said import REFUSED, complaints, refusal

LDIRECTORD = [
    "Running exec(/usr/sbin/ldirectord -d /etc/ha.d/ldirectord.cf start)",
    "Error [19226] reading file /etc/ha.d/ldirectord.cf at line 7: duplicate virtual server",
    "Exiting with exit_status 2: config_error: Configuration Error",
]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (LDIRECTORD, "/etc/ha.d/ldirectord.cf at line 7: duplicate virtual server"),
        (["(f.conf: Line 3) Security violation", "", REFUSED], "(f.conf: Line 3) Security violation"),
        ([REFUSED], "keepalived --config-test fails, and says nothing"),
        (["Mon Nov 30 22:29:54 2026: Starting Keepalived v2.2.7", "Segmentation fault"], ""),
        ([], ""),
    ],
)
def test_a_refusal_is_told_in_the_daemons_own_words(said: list[str], why: str) -> None:
    assert refusal(said) == why


def test_what_keepalived_takes_and_does_not_like_is_told_once() -> None:
    said = [
        "(f.conf: Line 3) Invalid real server ip address/port web.example.org/80 - skipping",
        "Tue Dec  1 00:01:02 2026: There are 2 missing '}'s or extra '{'s",
        "There are 2 missing '}'s or extra '{'s",
        "Mon Nov 30 22:29:54 2026: Starting Keepalived v2.2.7 (01/16,2022)",
        "Mon Nov 30 22:29:55 2026: Starting Healthcheck child process",
    ]
    assert complaints(said) == [said[0], said[2]]
    assert complaints(LDIRECTORD) == []
