"""Cells of kernels and sysctls, their turns, and what remains of a matrix whatever becomes of a
cell.
"""

from __future__ import annotations

from pathlib import Path
from unittest.mock import MagicMock

import pytest

from lvslab.comparison.compare import compare
from lvslab.errors import CannotError, UsageError
from lvslab.events import Event, nobody
from lvslab.exitcodes import ExitCode
from lvslab.kernels.needs import any_kernel
from lvslab.plan.files import shipped_files
from lvslab.runs import rundir
from lvslab.scenario.cells import Cell, cells, turns
from lvslab.scenario.description import load
from lvslab.scenario.jobs import plan_jobs, read_settings
from lvslab.scenario.matrix import new_folder, take_turns
from lvslab.scenario.running import Outcome, overall, run_jobs
from tests.unit.commands import lvslab

# -- cells -----------------------------------------------------------------------------------------


def test_cells_are_kernels_times_values() -> None:
    found = cells(["uml", "debian/sid"], {"net.a": "1"}, {"net.ipv4.vs.conn_reuse_mode": ("0", "1")})
    assert [each.name for each in found] == [
        "uml conn_reuse_mode=0",
        "uml conn_reuse_mode=1",
        "debian/sid conn_reuse_mode=0",
        "debian/sid conn_reuse_mode=1",
    ]
    assert found[3].kernels == ("debian/sid",)
    assert found[3].sysctls == {"net.a": "1", "net.ipv4.vs.conn_reuse_mode": "1"}
    assert found[3].folder == "debian-sid-conn_reuse_mode=1"


def test_one_configuration_is_one_cell_without_a_name() -> None:
    assert cells([], {}, {}) == (Cell(),)
    assert cells(["uml"], {"net.a": "1"}, {}) == (Cell("", "uml", {"net.a": "1"}),)


def test_a_kernel_named_twice_is_two_cells_and_folders_never_meet() -> None:
    assert [(each.name, each.kernel) for each in cells(["uml", "uml"], {}, {})] == [
        ("uml.1", "uml"),
        ("uml.2", "uml"),
    ]
    close = cells([], {}, {"net.x": ("1 2", "1-2")})
    assert len({each.folder for each in close}) == 2


def test_several_values_of_a_sysctl_are_told_from_one() -> None:
    read, _ = read_settings(["net.ipv4.vs.conntrack=1", "net.a.b=0", "net.a.b=2", "net.a.b=0", "rate=5"])
    assert (read.sysctls, read.varied, read.parameters) == (
        {"net.ipv4.vs.conntrack": "1"},
        {"net.a.b": ("0", "2")},
        {"rate": "5"},
    )


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["rate=5", "rate=6"], "--set rate: given twice"),
        (["net.ipv4.vs.conn reuse=1"], "no sysctl has such a name"),
        (["net..x=1"], "no sysctl has such a name"),
        (["net.ipv4.vs.drop_packet="], "no sysctl takes such a value"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(pairs: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_settings(pairs)


def test_turns_go_back_and_forth() -> None:
    assert list(turns(["a", "b", "c"], 3)) == [
        (1, "a"),
        (1, "b"),
        (1, "c"),
        (2, "c"),
        (2, "b"),
        (2, "a"),
        (3, "a"),
        (3, "b"),
        (3, "c"),
    ]


class Counting:
    """A worker that writes down its turns, and is over after some of them."""

    def __init__(self, title: str, journal: list[tuple[str, int]], most: int) -> None:
        self.title, self._journal, self._most = title, journal, most

    @property
    def over(self) -> bool:
        return sum(title == self.title for title, _ in self._journal) >= self._most

    def turn(self, repetition: int) -> None:
        self._journal.append((self.title, repetition))


@pytest.mark.parametrize("numbered", [False, True])
def test_workers_are_told_of_and_one_that_is_over_is_left_out(numbered: bool) -> None:
    journal: list[tuple[str, int]] = []
    heard: list[Event] = []
    workers = [Counting("a", journal, 9), Counting("b", journal, 1)]
    take_turns(workers, 3, heard.append, numbered=numbered)
    assert journal == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    counts = ("[1/6] ", "[2/6] ", "[4/6] ", "[5/6] ") if numbered else ("",) * 4
    assert [(event.kind, event.text) for event in heard] == [
        ("job", f"{count}{title}, repetition {repetition} of 3")
        for count, (title, repetition) in zip(counts, journal, strict=True)
    ]


def test_every_matrix_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folders = [new_folder(tmp_path / "runs") for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.is_dir() for folder in folders)
    assert all("-matrix" in folder.name for folder in folders)


# -- carrying it out -------------------------------------------------------------------------------

STORY = """\
from lvslab.errors import CannotError, LabError
from lvslab.scenario import scenario

TURNS = []


@scenario(title="A story", teaches="nothing", modes=["nat"])
def run(log, repeat=3, dies="", cannot="", fails=""):
    for repetition in {loop}:
        value = log._sysctls.get("net.x", "")
        log.note(f"{{value}} {{repetition}}")
        if value == cannot:
            raise CannotError("its kernel lacks ip_vs")
        if value == dies and repetition == 2:
            raise LabError("the guest kernel died")
        log.run.sample(lab="nat", mode="nat", metric="throughput", unit="bit/s", repeat=repetition, value=100.0 + repetition)
        log.expect(f"all is well, {{repetition}}", value != fails, "seen")
"""  # noqa: E501


def carried_out(
    tmp_path: Path, loop: str = "log.repetitions(repeat)", **parameters: str
) -> tuple[list[Outcome], list[str]]:
    """A matrix of the values a, b and c, and who did what in which order."""
    file = tmp_path / "story.py"
    file.write_text(STORY.format(loop=loop))
    heard: list[Event] = []
    read, _ = read_settings(
        ["net.x=a", "net.x=b", "net.x=c", *(f"{name}={value}" for name, value in parameters.items())]
    )
    jobs = plan_jobs([load(str(file), {})], read)
    outcomes = list(
        run_jobs(
            jobs,
            any_kernel(),
            heard.append,
            tmp_path / "runs",
            cells=cells([], read.sysctls, read.varied),
            draw=False,
        )
    )
    return outcomes, [each.text for each in heard if each.kind == "note"]


def test_cells_take_turns_and_each_has_a_whole_run_directory(tmp_path: Path) -> None:
    outcomes, order = carried_out(tmp_path)
    assert order == ["a 1", "b 1", "c 1", "c 2", "b 2", "a 2", "a 3", "b 3", "c 3"]
    assert overall(outcomes) == ExitCode.OK
    for outcome, value in zip(outcomes, "abc", strict=True):
        run = rundir.load(outcome.run)
        assert (run.status, run.parameters["net.x"], run.parameters["repeat"]) == ("complete", value, 3)
        assert [each.repeat for each in run.samples] == [1, 2, 3]
        assert [each.name for each in run.results] == [f"all is well, {number}" for number in (1, 2, 3)]
        assert outcome.run.parent.name == f"x={value}" and outcome.cell.name == f"x={value}"
    found = compare(outcomes[0].run, outcomes[1].run)
    assert [str(each) for each in found.under_test if each.what == "net.x"] == ["net.x: a -> b"]
    assert not found.not_comparable


def test_a_cell_that_dies_leaves_the_others_to_go_on(tmp_path: Path) -> None:
    outcomes, order = carried_out(tmp_path, dies="b")
    assert [each.code for each in outcomes] == [ExitCode.OK, ExitCode.LAB_BROKE, ExitCode.OK]
    assert order == ["a 1", "b 1", "c 1", "c 2", "b 2", "a 2", "a 3", "c 3"]
    broken = rundir.load(outcomes[1].run)
    assert (broken.status, broken.error, len(broken.samples)) == ("broken", "the guest kernel died", 1)
    assert compare(outcomes[0].run, outcomes[1].run).code == ExitCode.FAILED


def test_a_cell_that_cannot_is_skipped_with_the_reason(tmp_path: Path) -> None:
    outcomes, order = carried_out(tmp_path, cannot="c")
    assert [each.code for each in outcomes] == [ExitCode.OK, ExitCode.OK, ExitCode.CANNOT]
    assert outcomes[2].error == "its kernel lacks ip_vs" and order.count("c 1") == 1 and "c 2" not in order
    assert overall(outcomes) == ExitCode.CANNOT


def test_a_cell_that_fails_is_a_regression_against_the_first(tmp_path: Path) -> None:
    outcomes, _ = carried_out(tmp_path, fails="b")
    assert [each.code for each in outcomes] == [ExitCode.OK, ExitCode.FAILED, ExitCode.OK]
    (regression,) = compare(outcomes[0].run, outcomes[1].run).regressions
    assert (regression.name, regression.reason) == ("all is well", "failed 0 of 3, now 3 of 3: seen")


def test_a_scenario_that_loops_by_itself_does_all_at_once_and_it_is_said(tmp_path: Path) -> None:
    outcomes, order = carried_out(tmp_path, loop="range(1, repeat + 1)")
    assert order == [f"{value} {number}" for value in "abc" for number in (1, 2, 3)]
    assert "not interleaved" in rundir.load(outcomes[0].run).not_comparable[0]


def test_an_interrupted_matrix_leaves_every_cell_readable(tmp_path: Path) -> None:
    file = tmp_path / "story.py"
    text = STORY.format(loop="log.repetitions(repeat)").replace(
        'LabError("the guest kernel died")', "KeyboardInterrupt"
    )
    file.write_text(text)
    read, _ = read_settings(["net.x=a", "net.x=b", "dies=b"])
    going = run_jobs(
        plan_jobs([load(str(file), {})], read),
        any_kernel(),
        nobody,
        tmp_path / "runs",
        cells=cells([], {}, read.varied),
        draw=False,
    )
    with pytest.raises(KeyboardInterrupt):
        list(going)
    runs = [rundir.load(file.parent) for file in sorted((tmp_path / "runs").glob("*/*/run.json"))]
    assert [(run.status, len(run.samples)) for run in runs] == [("interrupted", 1), ("interrupted", 1)]


ONCE = {"haproxy-tier", "weighted-round-robin"}
"""Scenarios without repetitions."""


class Asked(Exception):
    """A scenario has asked for its repetitions."""


@pytest.mark.parametrize("file", sorted(shipped_files("scenarios").values()), ids=lambda file: file.stem)
def test_shipped_scenarios_take_turns(file: Path) -> None:
    """Each asks for its repetitions before it builds anything: that is where cells take turns."""
    scenario = load(str(file), {})
    assert ("repeat" in scenario.parameters) == (scenario.name not in ONCE)
    if scenario.name in ONCE:
        return
    log = MagicMock()
    log.repetitions.side_effect = Asked
    try:
        with pytest.raises(Asked):
            scenario.run(log, **{**scenario.parameters, "repeat": 4})
    except CannotError as error:
        pytest.skip(str(error))
    log.repetitions.assert_called_once_with(4)
    log.lab.assert_not_called()


# -- the command -----------------------------------------------------------------------------------


def test_dry_run_prints_the_cells(tmp_path: Path) -> None:
    done = lvslab(
        "run",
        "drain",
        "--kernel",
        "uml",
        "--set",
        "net.ipv4.vs.drop_packet=0",
        "--set",
        "net.ipv4.vs.drop_packet=3",
        "--repeat",
        "4",
        "--dry-run",
        place=tmp_path,
    )
    assert done.code == 0, done.err
    assert "2 cells, 4 repetitions of each, in turns:" in done.out
    assert "  drop_packet=3: kernel uml, net.ipv4.vs.drop_packet=3" in done.out


@pytest.mark.parametrize(
    "command", [["verify", "nat"], ["verify", "--only", "ops:*"], ["run", "drain"]], ids=" ".join
)
def test_a_wrong_kernel_is_refused_before_anything_starts(command: list[str], tmp_path: Path) -> None:
    done = lvslab(*command, "--kernel", "uml", "--kernel", "bsd", "--runs", str(tmp_path), place=tmp_path)
    assert done.code == 2 and "bsd" in done.err and done.out == ""
    assert list(tmp_path.iterdir()) == []
