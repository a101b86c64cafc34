"""Verdicts as JUnit and TAP say what the results say, whatever is in the texts."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from lvslab.report import formats
from lvslab.runs.records import Result, Verdict

RESULTS = [
    Result("nat:tcp:request", "pass", "as expected", seconds=0.25),
    Result(
        "nat:udp",
        "fail",
        'IP.ttl: expected 63, seen "64" <&>',
        detail=("seen: Ether / IP", "x: \\ y"),
        seconds=1,
    ),
    Result("twos", "skip", "kernel 6.1 lacks it"),
]


def test_junit_counts_and_explains() -> None:
    suite = ElementTree.fromstring(formats.junit("verify-full", RESULTS))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    cases = {f"{each.get('classname')}|{each.get('name')}": each for each in suite}
    assert list(cases) == ["verify-full.nat|tcp:request", "verify-full.nat|udp", "verify-full.twos|twos"]
    failure = cases["verify-full.nat|udp"].find("failure")
    assert (
        failure is not None
        and failure.get("message") == RESULTS[1].reason
        and failure.text == "seen: Ether / IP\nx: \\ y"
    )
    skipped = cases["verify-full.twos|twos"].find("skipped")
    assert skipped is not None and skipped.get("message") == "kernel 6.1 lacks it"
    assert not list(cases["verify-full.nat|tcp:request"])


def test_tap_numbers_every_result_and_quotes_what_yaml_would_not_take() -> None:
    lines = formats.tap(RESULTS).splitlines()
    assert lines[:3] == ["TAP version 14", "1..3", "ok 1 - nat:tcp:request"]
    assert "not ok 2 - nat:udp" in lines and 'message: "IP.ttl: expected 63, seen \\"64\\" <&>"' in lines[5]
    assert lines[-1] == "ok 3 - twos # SKIP kernel 6.1 lacks it"


def test_ktap_nests_checks_below_their_subject() -> None:
    results = [*RESULTS, Result("nat:icmp#1", "pass", "held", seconds=0.004)]
    assert formats.ktap(results).splitlines() == [
        "KTAP version 1",
        "1..2",
        "  KTAP version 1",
        "  # Subtest: nat",
        "  1..3",
        "  ok 1 nat:tcp:request # time=250ms",
        '  # IP.ttl: expected 63, seen "64" <&>',
        "  # seen: Ether / IP",
        "  # x: \\ y",
        "  not ok 2 nat:udp # time=1000ms",
        "  ok 3 nat:icmp_1 # time=4ms",
        "not ok 1 nat",
        "  KTAP version 1",
        "  # Subtest: twos",
        "  1..1",
        "  ok 1 twos # SKIP kernel 6.1 lacks it",
        "ok 2 twos # SKIP all its checks",
    ]


@given(
    st.lists(st.tuples(st.text("ab:#\n ", min_size=1), st.text(), st.sampled_from(["pass", "fail", "skip"])))
)
def test_ktap_has_a_line_for_each_check_whatever_the_texts(rows: list[tuple[str, str, Verdict]]) -> None:
    text = formats.ktap([Result(f"a:{name}", verdict, reason) for name, reason, verdict in rows])
    nested = [line for line in text.splitlines() if line.startswith(("  ok ", "  not ok "))]
    assert len(nested) == len(rows)


@given(st.text(), st.text(), st.sampled_from(["pass", "fail", "skip"]))
def test_any_text_gives_readable_xml(name: str, reason: str, verdict: Verdict) -> None:
    suite = ElementTree.fromstring(formats.junit("suite", [Result(f"a:{name}", verdict, reason)]))
    assert len(suite) == 1
