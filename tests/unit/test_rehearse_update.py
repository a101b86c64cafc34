"""A change of the kernel, rehearsed: what is said of it, and which kernel runs where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lvslab import events
from lvslab.kernels.needs import any_kernel
from lvslab.rehearse import updating
from lvslab.rehearse.deaths import Wish
from lvslab.rehearse.files import read_paths
from lvslab.rehearse.staging import Prepared, prepared
from lvslab.report.rehearsal import write_page
from lvslab.runs.rehearsal import Answers, Change

RULES = "-A -t 10.9.0.10:80 -s rr\n-a -t 10.9.0.10:80 -r 10.9.7.11:8080 -m -w 1\n"
OLD = Answers(tables={"lvs": RULES}, releases={"lvs": "6.1.1"})


def _prepared(folder: Path, plan: str = "") -> Prepared:
    for name in ("lvs1", "lvs2"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "rules").write_text(RULES)
    (folder / "plan.toml").write_text(plan)
    return prepared(*read_paths([folder / "lvs1", folder / "lvs2", folder / "plan.toml"]))


def _changed(folder: Path, monkeypatch: pytest.MonkeyPatch, new: Answers) -> Change:
    """An update whose two rehearsals answer `OLD` and `new`."""
    answers = [OLD, new]
    folders: list[Path] = []

    def rehearse(_stage: object, _wish: object, logs: Path, *_: object) -> Answers:
        folders.append(logs)
        return answers[len(folders) - 1]

    monkeypatch.setattr(updating, "rehearse", rehearse)
    stage = _prepared(folder).stage(any_kernel())
    change = updating.rehearse_update(stage, stage, Wish(), folder, {}, events.nobody)
    assert [logs.is_dir() for logs in folders] == [True, True] and folders[0] != folders[1]
    return change


@pytest.mark.parametrize(
    ("rules", "worse"),
    [
        (RULES, []),
        (
            RULES.replace("-w 1", "-w 0"),
            ["on the new kernel: TCP 10.9.0.10:80: real server 10.9.7.11:8080 is -m -w 0, wanted is -m -w 1"],
        ),
        ("", ["on the new kernel: TCP 10.9.0.10:80 is missing"]),
    ],
)
def test_another_table_from_the_same_files_is_worse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str, worse: Sequence[str]
) -> None:
    change = _changed(tmp_path, monkeypatch, Answers(tables={"lvs": rules}, releases={"lvs": "6.12.1"}))
    assert change.changes == ("lvs: kernel 6.1.1 becomes 6.12.1",)
    assert list(change.worse) == worse


def test_the_page_speaks_of_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change = _changed(tmp_path, monkeypatch, Answers(tables={"lvs": RULES}, releases={"lvs": "6.12.1"}))
    page = write_page(tmp_path, change).read_text()
    assert "Worse than with the old kernel" in page and "lvs: kernel 6.1.1 becomes 6.12.1" in page
    assert "The reload" not in page and "new files" not in page


def test_the_plans_kernel_comes_first(tmp_path: Path) -> None:
    found = _prepared(tmp_path, '[directors.lvs2]\nkernel = "old"\n')
    stage = found.stage(any_kernel("old", "new"), "new")
    assert [stage.lab.node(name).kernel for name in ("lvs1", "lvs2")] == ["new", "old"]


def test_two_kernels_take_twice_as_long(tmp_path: Path) -> None:
    found = _prepared(tmp_path)
    quick = Wish((), all_dead=False, directors=False)
    assert found.duration(quick) == "takes some 30 s (start: 30 s)"
    twice = "takes some 60 s (the old kernel: 30 s; the new kernel: 30 s)"
    assert found.duration(quick, kernels=2) == twice
    said = found.duration(Wish(), change=[found.directors, found.directors])
    assert "the old files: " in said and "reloads: " in said and "the new files: " in said
