"""Jobs: what the words of a command line become, and what remains of a run whatever
becomes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import UsageError
from lvslab.events import Event, nobody
from lvslab.exitcodes import ExitCode
from lvslab.kernels.needs import any_kernel
from lvslab.plan.files import shipped_files
from lvslab.runs import rundir
from lvslab.scenario.cells import Cell
from lvslab.scenario.description import Scenario, load, parameters
from lvslab.scenario.jobs import Job, Settings, plan_jobs, read_settings
from lvslab.scenario.running import Outcome, overall, run_jobs


def scene(name: str, in_modes: Sequence[str] = ("nat", "dr"), **defaults: Any) -> Scenario:
    """A scenario that does nothing."""
    return Scenario(
        name,
        "Title",
        "something",
        tuple(in_modes),
        10.0,
        "",
        {},
        {},
        defaults,
        lambda log, **values: None,
        Path("story.py"),
    )


ONE_MODE = scene("one", ("nat", "dr"), mode="nat", repeat=2, rate=5.0)
"""Runs in one mode at a time, as most scenarios do."""
OWN_MODES = scene("own", ("nat", "tun"), modes=("nat", "tun"), repeat=3)
"""Goes through several modes by itself."""
NO_MODE = scene("none", ("nat", "synproxy"), variant=("a", "b"))
"""Takes no mode at all."""


def settings(**values: str) -> Settings:
    return Settings(values, {})


# -- the words of a command line -------------------------------------------------------------------


def test_settings_are_told_apart_from_sysctls_by_their_dots() -> None:
    read, words = read_settings(["rate=5", "net.ipv4.vs.conntrack=1", "text=a=b", "empty="])
    assert read == Settings({"rate": "5", "text": "a=b", "empty": ""}, {"net.ipv4.vs.conntrack": "1"})
    assert words == []


def test_options_of_scenarios_are_settings_and_the_other_words_are_names() -> None:
    read, words = read_settings(
        ["rate=5"], ["drain", "--control", "mon", "--beat-timeout=2", "removal", "--rate", "-7"]
    )
    assert read == Settings({"rate": "-7", "control": "mon", "beat_timeout": "2"}, {})
    assert words == ["drain", "removal"]


@pytest.mark.parametrize(
    ("pairs", "options", "words"),
    [
        (["rate"], [], ["--set rate", "NAME=VALUE"]),
        (["=5"], [], ["--set =5", "NAME=VALUE"]),
        ([], ["drain", "--rate"], ["--rate: a value is missing", "--rate VALUE"]),
    ],
)
def test_half_a_setting_is_refused(pairs: list[str], options: list[str], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(pairs, options)
    assert all(word in str(caught.value) for word in words)


# -- jobs ------------------------------------------------------------------------------------------


def test_a_scenario_runs_once_in_its_default_mode() -> None:
    (job,) = plan_jobs([ONE_MODE], settings())
    assert (job.mode, job.values, job.seconds) == ("nat", {"mode": "nat", "repeat": 2, "rate": 5.0}, 10.0)
    assert job.title == "one (nat)"


def test_every_mode_that_is_asked_for_is_a_job() -> None:
    jobs = plan_jobs([ONE_MODE], settings(rate="7"), ["dr", "nat"])
    assert [(job.mode, job.values["mode"], job.values["rate"]) for job in jobs] == [
        ("dr", "dr", 7.0),
        ("nat", "nat", 7.0),
    ]


def test_all_modes_are_those_that_each_scenario_has() -> None:
    jobs = plan_jobs([ONE_MODE, OWN_MODES, NO_MODE], settings(), every_mode=True)
    assert [job.title for job in jobs] == ["one (nat)", "one (dr)", "own", "none"]
    jobs = plan_jobs([ONE_MODE, OWN_MODES, NO_MODE], settings(), ["tun", "dr"], every_mode=True)
    assert [(job.title, job.values.get("modes")) for job in jobs] == [("one (dr)", None), ("own", ("tun",))]


def test_a_scenario_that_goes_through_modes_gets_those_that_fit() -> None:
    (job,) = plan_jobs([OWN_MODES], settings(), ["dr", "tun", "nat"])
    assert job.mode == "" and job.values["modes"] == ("tun", "nat")


@pytest.mark.parametrize(
    ("scenario", "mode", "message"),
    [
        (ONE_MODE, "tun", "scenario 'one' does not run in mode 'tun'; it runs in: nat, dr"),
        (NO_MODE, "nat", "scenario 'none' runs in nat, synproxy only; leave --mode out"),
        (OWN_MODES, "dr", "scenario 'own' runs in nat, tun only; leave --mode out"),
    ],
)
def test_a_mode_that_a_scenario_cannot_use_is_refused_with_those_it_can(
    scenario: Scenario, mode: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        plan_jobs([scenario], settings(), [mode])
    assert str(caught.value) == message


def test_no_job_at_all_is_refused() -> None:
    with pytest.raises(UsageError, match="no scenario runs in tun; see: lvslab list"):
        plan_jobs([ONE_MODE, NO_MODE], settings(), ["tun"], every_mode=True)


def test_more_repetitions_take_longer() -> None:
    jobs = plan_jobs([ONE_MODE, OWN_MODES, NO_MODE], settings(), repeat=6)
    assert [(job.values.get("repeat"), job.seconds) for job in jobs] == [(6, 30.0), (6, 20.0), (None, 10.0)]
    with pytest.raises(UsageError, match="--repeat 0: give 1 or more"):
        plan_jobs([ONE_MODE], settings(), repeat=0)


def test_a_parameter_goes_to_the_scenarios_that_have_it() -> None:
    jobs = plan_jobs([ONE_MODE, NO_MODE], settings(rate="7", variant="b"))
    assert [dict(job.values) for job in jobs] == [
        {"mode": "nat", "repeat": 2, "rate": 7.0},
        {"variant": ("b",)},
    ]


def test_a_parameter_that_no_scenario_has_is_refused() -> None:
    with pytest.raises(UsageError, match="none of the scenarios has a parameter 'speed'; see: lvslab list"):
        plan_jobs([ONE_MODE, NO_MODE], settings(speed="7"))
    with pytest.raises(
        UsageError, match=r"scenario 'one' has no parameter 'speed'; it has: mode=nat, repeat=2, rate=5.0"
    ):
        plan_jobs([ONE_MODE], settings(speed="7"))


# -- parameters ------------------------------------------------------------------------------------

TYPES = scene(
    "types", mode="nat", flag=False, count=1, rate=0.5, names=("a", "b"), numbers=(1, 2), nothing=None
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flag", "yes", True),
        ("flag", "OFF", False),
        ("count", "12", 12),
        ("rate", "2", 2.0),
        ("names", "x,y", ("x", "y")),
        ("names", "x|y", ("x", "y")),
        ("numbers", "3,4,5", (3, 4, 5)),
        ("nothing", "text", "text"),
    ],
)
def test_a_value_takes_the_type_of_its_default(name: str, text: str, value: object) -> None:
    found = parameters(TYPES, {name: text})
    assert (found[name], type(found[name])) == (value, type(value))
    assert {**found, name: None} == {**TYPES.parameters, name: None}


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("flag", "perhaps", "flag: expected yes or no, got 'perhaps'"),
        ("count", "1,2", "count: expected one whole number, got '1,2'"),
        ("count", "1.5", "count: expected one whole number, got '1.5'"),
        ("rate", "fast", "rate: expected one number, got 'fast'"),
        ("numbers", "1,two", "numbers: expected whole numbers separated by commas, got '1,two'"),
        ("mode", "tun", "mode 'tun' is none of: nat, dr"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, text: str, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        parameters(TYPES, {name: text})
    assert wanted in str(caught.value)


@pytest.mark.parametrize("text", ["red,green", "green"])
def test_a_choice_that_there_is_not_is_refused_with_those_there_are(text: str) -> None:
    chosen = replace(scene("paint", colour=("red",)), choices={"colour": ("red", "blue")})
    assert parameters(chosen, {"colour": "blue,red"})["colour"] == ("blue", "red")
    with pytest.raises(UsageError, match="scenario 'paint': colour 'green' is none of: red, blue"):
        parameters(chosen, {"colour": text})


SHIPPED = {name: load(name, shipped_files("scenarios")) for name in shipped_files("scenarios")}
CHOICES = [
    (name, key, choice)
    for name, each in SHIPPED.items()
    for key, choices in each.choices.items()
    for choice in choices
]


@pytest.mark.parametrize(("name", "key", "choice"), CHOICES)
def test_every_choice_of_a_shipped_scenario_can_be_chosen(name: str, key: str, choice: str) -> None:
    default = SHIPPED[name].parameters[key]
    assert parameters(SHIPPED[name], {key: choice})[key] == (
        (choice,) if isinstance(default, tuple) else choice
    )


# -- carrying them out -----------------------------------------------------------------------------

STORY = """\
from lvslab.errors import CannotError, LabError
from lvslab.runs.lateness import Excuse
from lvslab.scenario import scenario


@scenario(title="A story", teaches="nothing", modes=["nat"])
def run(log, end="good"):
    log.expect("beginning", True, "once upon a time")
    if end == "bad":
        log.expect("end", False, "they died", excuse=Excuse(0.3, 0.2))
    if end in ("late", "late and bad"):
        log.expect("end", False, "they came home after midnight", excuse=Excuse(0.3, 0.4))
    if end == "late and bad":
        log.expect("end", False, "they died")
    if end == "broken":
        raise LabError("the lab caught fire")
    if end == "impossible":
        raise CannotError("there are no dragons here; run: apt-get install dragons")
    if end == "interrupted":
        raise KeyboardInterrupt
"""


def jobs_of(tmp_path: Path, *ends: str) -> list[Job]:
    file = tmp_path / "story.py"
    file.write_text(STORY)
    scenario = load(str(file), {})
    return [plan_jobs([scenario], settings(end=end))[0] for end in ends]


def carried_out(tmp_path: Path, *ends: str, **options: Any) -> list[Outcome]:
    jobs = jobs_of(tmp_path, *ends)
    return list(run_jobs(jobs, any_kernel(), nobody, tmp_path / "runs", **{"draw": False, **options}))


@pytest.mark.parametrize(
    ("end", "code", "status", "verdicts", "error"),
    [
        ("good", ExitCode.OK, "complete", ["pass"], ""),
        ("bad", ExitCode.FAILED, "complete", ["pass", "fail"], ""),
        ("late", ExitCode.CANNOT, "complete", ["pass", "skip"], ""),
        ("late and bad", ExitCode.FAILED, "complete", ["pass", "skip", "fail"], ""),
        ("broken", ExitCode.LAB_BROKE, "broken", ["pass"], "the lab caught fire"),
        (
            "impossible",
            ExitCode.CANNOT,
            "complete",
            ["pass", "skip"],
            "there are no dragons here; run: apt-get install dragons",
        ),
    ],
)
def test_every_end_leaves_a_run_directory_that_tells_it(
    tmp_path: Path, end: str, code: ExitCode, status: str, verdicts: list[str], error: str
) -> None:
    (outcome,) = carried_out(tmp_path, end)
    assert (outcome.code, outcome.error, outcome.report) == (code, error, None)
    run = rundir.load(outcome.run)
    assert (run.status, [each.verdict for each in run.results]) == (status, verdicts)
    assert (run.error or "") == (error if status == "broken" else "")
    assert run.parameters == {"end": end} and run.finished is not None
    assert run.results[-1].reason == error or end != "impossible"


def test_what_could_not_be_judged_says_by_how_much_the_machine_was_late(tmp_path: Path) -> None:
    (outcome,) = carried_out(tmp_path, "late", draw=True)
    reason = "not judged: the machine was late by 400 ms; they came home after midnight"
    assert rundir.load(outcome.run).results[-1].reason == reason
    assert outcome.report is not None and reason in outcome.report.read_text()


def test_an_interrupted_run_is_readable_and_ends_everything(tmp_path: Path) -> None:
    heard: list[Event] = []
    ended = run_jobs(
        jobs_of(tmp_path, "interrupted", "good"),
        any_kernel(),
        heard.append,
        tmp_path / "runs",
        draw=False,
        keep_going=True,
    )
    with pytest.raises(KeyboardInterrupt):
        list(ended)
    (directory,) = (tmp_path / "runs").iterdir()
    run = rundir.load(directory)
    assert (run.status, [each.name for each in run.results]) == ("interrupted", ["beginning"])
    assert str(directory) in heard[-1].text and heard[-1].text.startswith("interrupted: story")


@pytest.mark.parametrize("end", ["bad", "broken"])
def test_after_a_failure_the_rest_is_left_out_unless_it_is_to_go_on(tmp_path: Path, end: str) -> None:
    assert [each.job.values["end"] for each in carried_out(tmp_path, "good", end, "good")] == ["good", end]
    assert [each.job.values["end"] for each in carried_out(tmp_path, end, "good", keep_going=True)] == [
        end,
        "good",
    ]


def test_what_the_machine_cannot_do_stops_nothing(tmp_path: Path) -> None:
    assert [each.code for each in carried_out(tmp_path, "impossible", "good")] == [
        ExitCode.CANNOT,
        ExitCode.OK,
    ]


@pytest.mark.parametrize(("end", "words"), [("bad", "they died"), ("broken", "the lab caught fire")])
def test_a_run_that_failed_or_broke_still_gets_its_report(tmp_path: Path, end: str, words: str) -> None:
    (outcome,) = carried_out(tmp_path, end, draw=True)
    assert outcome.report is not None and outcome.report.parent == outcome.run
    assert words in outcome.report.read_text()


def test_progress_says_how_long_it_takes_and_how_much_is_left(tmp_path: Path) -> None:
    heard: list[Event] = []
    jobs = [replace(job, seconds=60.0) for job in jobs_of(tmp_path, "good", "good")]
    list(run_jobs(jobs, any_kernel(), heard.append, tmp_path / "runs", draw=False))
    assert [each.text for each in heard if each.kind == "job"] == [
        "[1/2] story, about 60 s; 2 min left in all",
        "[2/2] story, about 60 s; 60 s left in all",
    ]


BY_WEIGHT = [ExitCode.OK, ExitCode.CANNOT, ExitCode.FAILED, ExitCode.LAB_BROKE, ExitCode.USAGE]


def test_the_gravest_exit_code_counts_in_any_order() -> None:
    (job,) = plan_jobs([NO_MODE], settings())
    for codes in permutations(BY_WEIGHT, 3):
        outcomes = [Outcome(job, code, Path(), None) for code in codes]
        assert overall(outcomes) == max(codes, key=BY_WEIGHT.index)
    assert overall([]) == ExitCode.OK


def test_a_choice_that_holds_a_separator_is_refused_when_the_scenario_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "split.py"
    head = "from lvslab.scenario import scenario\n"
    mark = '@scenario(title="t", teaches="t", modes=["nat"], choices={"kind": ["plain", "plain, twice"]})\n'
    file.write_text(head + mark + "def run(log, kind='plain'): ...\n")
    with pytest.raises(UsageError, match="choice 'plain, twice' holds a separator"):
        load(str(file), {})


def test_a_mistake_in_a_scenario_breaks_its_run_and_not_the_others(tmp_path: Path) -> None:
    bodies = {
        "slip": "1 / 0",
        "fine": "log.expect('it', True, 'holds')",
        "step": "raise CommandError('lvs', 'set-up', 1, 'no such sysctl')",
    }
    for name, body in bodies.items():
        head = (
            "from lvslab.scenario import scenario; from lvslab.errors import CommandError\n"
            "@scenario(title='t', teaches='t', modes=['nat'])\n"
        )
        (tmp_path / f"{name}.py").write_text(f"{head}def run(log):\n    {body}\n")
    jobs = plan_jobs([load(str(tmp_path / f"{name}.py"), {}) for name in bodies], read_settings([])[0])
    slip, fine, step = run_jobs(
        jobs, any_kernel(), lambda event: None, tmp_path / "runs", draw=False, keep_going=True
    )
    assert (
        slip.code == ExitCode.USAGE and "ZeroDivisionError" in slip.error and "slip.py, line 4" in slip.error
    )
    assert (slip.run / "logs" / "traceback.txt").is_file()
    assert fine.code == ExitCode.OK
    assert step.code == ExitCode.USAGE and "step.py, line 4: lvs: 'set-up' failed" in step.error
    assert "no such sysctl" in step.error


@pytest.mark.parametrize("cells", [(Cell(),), (Cell("a", "uml", {}, "a"), Cell("b", "uml", {}, "b"))])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("1 / 0", "line 4: ZeroDivisionError"),
        ("log.lab('nat', vip='x').__enter__()", "line 4: a lab has no option 'vip'"),
        ("log.lab('nat', weights=[99999999]).__enter__()", "line 4: .*99999999"),
    ],
)
def test_what_is_refused_before_a_lab_has_started_leaves_nothing(
    tmp_path: Path, cells: tuple[Cell, ...], body: str, words: str
) -> None:
    head = "from lvslab.scenario import scenario\n@scenario(title='t', teaches='t', modes=['nat'])\n"
    file = tmp_path / "slip.py"
    file.write_text(f"{head}def run(log):\n    {body}\n")
    runs = tmp_path / "runs"
    jobs = plan_jobs([load(str(file), {})], read_settings([])[0])
    with pytest.raises(UsageError, match=f"slip.py, {words}"):
        list(run_jobs(jobs, any_kernel("uml"), lambda event: None, runs, cells=cells))
    assert not runs.exists()


def test_a_mode_given_as_a_parameter_is_the_mode() -> None:
    chosen = load("drain", shipped_files("scenarios"))
    jobs = plan_jobs([chosen], read_settings(["mode=dr,tun"])[0])
    assert [(job.mode, job.values["mode"]) for job in jobs] == [("dr", "dr"), ("tun", "tun")]
