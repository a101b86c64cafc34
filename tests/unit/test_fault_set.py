"""The set of kernel faults without a kernel: how an edit gets into a source, and what the set
covers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.conformance.check import all_checks, select
from tests.slow.faults.__main__ import FAULTS
from tests.slow.faults.fault import Fault, edited, place
from tests.slow.faults.page import page
from tests.slow.faults.trial import Seen

TEXT = "int first(int a)\n{\n\treturn a > 1;\n}\nint second(int a)\n{\n\treturn a > 1;\n}\n"


def fault(old: str, new: str, *after: str, file: str = "one.c") -> Fault:
    return Fault(f"{file}-{new}", file, after, old, new, "a story", ("*",))


def test_an_expression_becomes_a_choice_and_a_statement_a_branch() -> None:
    assert fault("a > 1", "0").switched(7) == "(lvslab_fault == 7 ? (0) : (a > 1))"
    assert fault("b = 1;", "").switched(2) == "if (lvslab_fault == 2) {  } else { b = 1; }"


def test_an_edit_is_the_first_behind_what_comes_before_it() -> None:
    assert place(fault("a > 1", "0"), TEXT) < TEXT.index("second")
    assert place(fault("a > 1", "0", "second("), TEXT) > TEXT.index("second")
    with pytest.raises(ValueError, match="not in this order"):
        place(fault("a > 1", "0", "second(", "first("), TEXT)


def test_several_edits_keep_their_numbers_and_their_places() -> None:
    faults = [fault("a > 1", "0", "second("), fault("x", "y", file="two.c"), fault("a > 1", "1")]
    changed = edited({"one.c": TEXT, "two.c": "x", "three.c": "z"}, faults)
    assert (
        changed["one.c"].index("== 3 ?") < changed["one.c"].index("second") < changed["one.c"].index("== 1 ?")
    )
    assert changed["two.c"] == "(lvslab_fault == 2 ? (y) : (x))" and changed["three.c"] == "z"
    with pytest.raises(ValueError, match="same text"):
        edited({"one.c": TEXT}, [faults[2], fault("return a > 1", "return 1")])


def test_the_set_is_large_and_names_checks_that_exist() -> None:
    checks = all_checks()
    assert len(FAULTS) >= 60 and len({each.name for each in FAULTS}) == len(FAULTS)
    for each in FAULTS:
        assert select(checks, each.seen_by), each.name
        assert each.story and each.old != each.new and not each.name.endswith("-"), each.name
    files = {each.file for each in FAULTS}
    assert {"ip_vs_core.c", "ip_vs_sync.c", "ip_vs_ftp.c", "xt_ipvs.c", "ip_vs_xmit.c"} <= files


def test_the_page_says_of_each_fault_who_sees_it_and_counts_only_what_could_be_seen() -> None:
    faults = [
        replace(fault("a > 1", "0"), name=name) for name in ("seen", "missed", "alarm", "untried", "same")
    ]
    faults[-1] = replace(faults[-1], equivalent="both do the same")
    known = {
        "seen": Seen("seen", "nat:request:ipv4-tcp"),
        "missed": Seen("missed"),
        "alarm": Seen("alarm", "ops:udp", alarm="without the fault: late"),
    }
    text = page(faults, known)
    assert "**1 of 4 faults are seen**; 1 more" in text
    rows = {line.split("|")[1].strip(): line.split("|")[4].strip() for line in text.splitlines()[-5:]}
    assert rows == {
        "seen": "`nat:request:ipv4-tcp`",
        "missed": "**no check**",
        "alarm": "**no check**",
        "untried": "not tried",
        "same": "nothing: both do the same",
    }


def test_the_documented_table_is_of_this_set_and_shows_enough_of_it_seen() -> None:
    lines = (Path(__file__).parents[2] / "docs/kernel-faults.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith("| ")][1:]
    assert [row[1].strip() for row in rows] == [each.name for each in FAULTS]
    can = [row[4] for row in rows if not row[4].strip().startswith("nothing:")]
    seen = [cell.strip().strip("`") for cell in can if cell.strip().startswith("`")]
    assert len(seen) >= 0.95 * len(can)
    assert set(seen) <= {each.name for each in all_checks()}
