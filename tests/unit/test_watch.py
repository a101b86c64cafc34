"""Runs over time: what is news, what wavers; on run directories written by the real writer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest

from lvslab.comparison import history
from lvslab.comparison.findings import Status
from lvslab.errors import LabError, UsageError
from lvslab.runs.records import Verdict
from tests.unit.commands import lvslab
from tests.unit.compared import START, lab, result, write_run

DAY = 86400.0
SINCE = datetime.fromtimestamp(START + 10.5 * DAY, UTC)


def write_days(root: Path, verdicts: Sequence[str], first: int = 1, kernel: str = "6.1.0") -> None:
    """A run a day from the first on with one expectation: "p", "f" or "s"; "-" for a run without
    it, "x" for one that broke.
    """
    words: dict[str, Verdict] = {"p": "pass", "f": "fail", "s": "skip"}
    for day, letter in enumerate(verdicts, start=first):
        write_run(
            root,
            labs=[lab(kernel=kernel)],
            results=[result("holds", words[letter])] if letter in words else [],
            error=LabError("lvs: the guest kernel died") if letter == "x" else None,
            started=START + day * DAY,
        )


def told(root: Path) -> dict[str, Status]:
    """Expectation → its news."""
    runs, unread = history.read([root])
    assert not unread
    return {
        news.history.name: news.status
        for series in history.series_of(runs)
        for news in history.news(series, SINCE, 0.01)
    }


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ("pppp", "pf", Status.NEWLY_FAILING),
        ("pppp", "pp", None),
        ("ffff", "ff", None),
        ("ppff", "pp", Status.FIXED),
        ("pfpp", "pp", None),
        ("pfpp", "pf", None),
        ("pfpppppppp", "ffff", Status.FAILING_MORE),
        ("pppp", "ss", Status.NEWLY_SKIPPED),
        ("pppp", "--", Status.MISSING),
        ("----", "pp", Status.ADDED),
    ],
)
def test_what_is_otherwise_since_then_is_news(
    tmp_path: Path, before: str, after: str, status: Status | None
) -> None:
    write_days(tmp_path, before, first=11 - len(before))
    write_days(tmp_path, after, first=11)
    assert told(tmp_path).get("holds") is status


def test_what_wavered_and_holds_at_the_moment_is_not_called_fixed(tmp_path: Path) -> None:
    write_days(tmp_path, "pfpf", first=7)
    write_days(tmp_path, "pp", first=11)
    assert told(tmp_path) == {}


def test_a_run_that_broke_is_news_although_no_check_failed(tmp_path: Path) -> None:
    write_days(tmp_path, "ppx", first=9)
    assert told(tmp_path)[history.COMPLETES] is Status.NEWLY_FAILING


def test_without_runs_on_both_sides_there_is_no_news(tmp_path: Path) -> None:
    write_days(tmp_path, "pf", first=11)
    assert told(tmp_path) == {}


@pytest.mark.parametrize("verdicts", ["pfp", "fpf", "psfsp", "ppffppff"])
def test_what_changes_more_often_than_one_fault_would_make_it_wavers(tmp_path: Path, verdicts: str) -> None:
    assert holds(tmp_path, verdicts).wavers


@pytest.mark.parametrize("verdicts", ["ppff", "ffpp", "ppffpp", "pf", "pppp"])
def test_one_fault_that_comes_and_goes_does_not_waver(tmp_path: Path, verdicts: str) -> None:
    assert not holds(tmp_path, verdicts).wavers


def holds(root: Path, verdicts: str) -> history.History:
    """What became of the one expectation."""
    write_days(root, verdicts)
    (series,) = history.series_of(history.read([root])[0])
    return next(each for each in series.histories if each.name == "holds")


def test_another_kernel_has_a_history_of_its_own(tmp_path: Path) -> None:
    write_days(tmp_path / "old", "pppp", first=7)
    write_days(tmp_path / "new", "ff", first=11, kernel="6.12.0")
    assert told(tmp_path) == {}
    series = history.series_of(history.read([tmp_path])[0])
    assert [re.sub(" .config.*", "", each.kernel) for each in series] == ["uml 6.1.0", "uml 6.12.0"]


def test_series_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    for number, mode in enumerate(("nat", "dr")):
        write_run(tmp_path, parameters={"mode": mode, "rate": 50}, started=START + number)
    series = history.series_of(history.read([tmp_path])[0])
    assert [each.title for each in series] == ["story mode=dr", "story mode=nat"]


def test_baselines_are_copies_and_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    write_days(tmp_path, "pp")
    write_days(tmp_path / "baselines" / "story", "p")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text("{")
    write_run(tmp_path, error=KeyboardInterrupt(), started=START + 20 * DAY)
    runs, unread = history.read([tmp_path])
    assert len(runs) == 3 and len(unread) == 1 and "torn" in unread[0]
    assert [len(each.runs) for each in history.series_of(runs)] == [2], "the interrupted one says nothing"


def test_a_folder_without_runs_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no run in it"):
        history.read([tmp_path / "empty"])
    with pytest.raises(UsageError, match="no such folder"):
        history.read([tmp_path / "none"])


def test_the_command_tells_it_and_its_page_leads_to_the_runs(tmp_path: Path) -> None:
    write_days(tmp_path / "runs", "ppp", first=8)
    write_days(tmp_path / "runs", "pfp", first=11)
    words = ("watch", str(tmp_path / "runs"), "--since", SINCE.isoformat())
    done = lvslab(*words, "--site", str(tmp_path / "site"), place=tmp_path)
    assert done.code == 1, done.err
    assert "newly failing" in done.out and "1 of 6" in done.out
    page = (tmp_path / "site" / "index.html").read_text()
    links = {unquote(each) for each in re.findall(r'href="([^"#]+)"', page)}
    assert len(links) == 6 and all((tmp_path / "site" / each).exists() for each in links)
    found = json.loads(lvslab(*words, "--json", place=tmp_path).out)
    (news,) = found["news"]
    assert (news["expectation"], news["status"], news["regression"]) == ("holds", "newly failing", True)
    assert [(each["expectation"], each["turns"]) for each in found["wavering"]] == [("holds", 2)]
    later = lvslab(*words[:-1], datetime.fromtimestamp(START + 13.5 * DAY, UTC).isoformat(), place=tmp_path)
    assert later.code == 0 and "0 worse since" in later.out


@pytest.mark.parametrize("when", ["10m", "yesterday", "2026-13-01", "7"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, when: str) -> None:
    done = lvslab("watch", str(tmp_path), "--since", when, place=tmp_path)
    assert done.code == 2 and "neither a time ago" in done.err
