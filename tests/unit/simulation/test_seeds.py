"""Many worlds: what their trials say together, and which one to look at first."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.cli.virtual import replay_words
from lvslab.errors import LabError
from lvslab.plan.files import shipped_files
from lvslab.report.worlds import write_worlds
from lvslab.runs import rundir
from lvslab.runs.worlds import (
    CONNECTIONS,
    TRIALS,
    Lasting,
    SeedTrial,
    by_variant,
    distribution,
    phase_of_advert,
    worst,
    write_tables,
)
from lvslab.runs.writer import RunWriter
from lvslab.scenario import description, seeds
from lvslab.scenario.cells import Cell
from lvslab.scenario.jobs import plan_jobs, read_settings

CONNECTED = tuple(Lasting(number, number / 2, "ok" if number else "timeout") for number in range(10))


def trial(seed: int, outage: float | None, code: int = 0, variant: str = "with sync") -> SeedTrial:
    return SeedTrial(
        seed, code, f"{seed:064x}", variant, outage, 0.1, 0.05, 0.722, CONNECTED, f"seed-{seed}/run"
    )


def test_the_worst_world_is_one_that_failed_then_the_longest_outage_then_the_first_seed() -> None:
    assert worst([trial(1, 0.3), trial(2, 0.5), trial(3, 0.5)]).seed == 2
    assert worst([trial(1, 0.9), trial(2, 0.5, code=1), trial(3, None)]).seed == 2
    assert worst([trial(1, None), trial(2, 0.0)]).seed == 1


def test_the_distribution_counts_every_known_outage() -> None:
    lines = distribution([trial(seed, seed / 10) for seed in range(1, 11)] + [trial(11, None)])
    assert lines[0] == "outage 0.100000 … 1.000000 s, median 0.550000 s, of 10 worlds"
    assert sum(int(line.split()[-1]) for line in lines[1:-1] if "█" in line) == 10
    assert lines[-1] == "99 of 110 lasting connections survived"
    assert distribution([trial(1, None)]) == ["no outage is known"]
    assert len(distribution([trial(1, 0.5), trial(2, 0.5)])) == 3


def test_trials_stand_by_variant_and_seed() -> None:
    mixed = [trial(2, 0.1), trial(1, 0.2, variant="without sync"), trial(1, 0.3)]
    assert {name: [one.seed for one in own] for name, own in by_variant(mixed).items()} == {
        "with sync": [1, 2],
        "without sync": [1],
    }


def test_the_same_worlds_give_the_same_tables_wherever_they_ran(tmp_path: Path) -> None:
    def tables(folder: str, *trials: SeedTrial) -> tuple[str, str]:
        (tmp_path / folder).mkdir()
        write_tables(tmp_path / folder, trials)
        return (tmp_path / folder / TRIALS).read_text(), (tmp_path / folder / CONNECTIONS).read_text()

    text, connections = tables("a", trial(2, 0.2), trial(1, 0.1234567891))
    assert (text, connections) == tables("b", trial(1, 0.1234567891), trial(2, 0.2))
    assert text.splitlines()[1] == (
        f"1,0,{1:064x},with sync,0.123456789,0.100000000,0.050000000,0.722000000,9,10,"
    )
    assert connections.splitlines()[1:3] == [
        "1,with sync,0,0.000000000,timeout",
        "1,with sync,1,0.500000000,ok",
    ]
    assert text != tables("c", trial(1, 0.1234567901), trial(2, 0.2))[0]


def run_of(folder: Path, **parameters: object) -> rundir.Run:
    """A run whose second director became master at 3.05 s."""
    with RunWriter(folder, "power-cut", kind="run", command=[], parameters=parameters) as writer:
        for t, text in ((1.0, "lvs1: outer addresses MASTER"), (3.05, "lvs2: outer addresses MASTER")):
            writer.add_event("nat", "vrrp", text, t=t)
    return rundir.load(writer.path)


def test_the_phase_is_counted_from_the_last_master_s_advertisements(tmp_path: Path) -> None:
    run = run_of(tmp_path, advert=0.2)
    assert phase_of_advert(run, "nat", 1.5) == pytest.approx(0.1)
    assert phase_of_advert(run, "nat", 3.3) == pytest.approx(0.05)
    assert phase_of_advert(run, "nat", 0.5) is None and phase_of_advert(run, "dr", 3.3) is None
    assert phase_of_advert(run_of(tmp_path, rate=100.0), "nat", 1.5) is None


def test_the_command_that_replays_a_world_says_all_that_was_said() -> None:
    settings, names = read_settings(
        ["net.ipv4.vs.sloppy_tcp=1"],
        ["director-power-cut", "--rate", "100", "--sync", "yes", "--mode", "dr"],
    )
    (job,) = plan_jobs([description.load(names[0], shipped_files("scenarios"))], settings)
    cell = Cell(kernel="local/6.12-vt", sysctls=settings.sysctls)
    words = replay_words(job, cell, 17)
    assert words == (
        "lvslab run director-power-cut --mode dr --sync yes --rate 100.0 --set net.ipv4.vs.sloppy_tcp=1"
        " --kernel local/6.12-vt --time virtual --seed 17 --capture"
    )
    again, names = read_settings([], words.split(" --set ")[0].split()[2:])
    (repeated,) = plan_jobs([description.load(names[0], shipped_files("scenarios"))], again)
    assert repeated.values == job.values


def test_the_page_names_the_worst_seed_and_draws_what_there_is(tmp_path: Path) -> None:
    place = str(run_of(tmp_path, advert=0.2).path.relative_to(tmp_path))
    with_phase = [replace(trial(seed, 0.6 + seed / 100), run=place) for seed in (1, 2, 3)]
    page = write_worlds(tmp_path, with_phase, "A power cut", "lvslab run x --seed 3")
    text = page.html.read_text()
    assert "The worst world: seed 3" in text and "<pre>lvslab run x --seed 3</pre>" in text
    assert [file.stem for file in page.figures] == ["outages", "phases", "ages"]
    assert "27 of 30" in text and "did not pass" not in text

    plain = [replace(one, phase=None, connections=(), code=one.seed == 1) for one in with_phase]
    page = write_worlds(tmp_path, plain, "A power cut", "")
    assert [file.stem for file in page.figures] == ["outages"]
    assert "1 of 3 worlds did not pass" in page.html.read_text()

    page = write_worlds(tmp_path, [replace(plain[0], outage=None)], "A power cut", "")
    assert page.figures == () and "nothing to draw" in page.html.read_text()


def test_every_seed_is_worked_on_once() -> None:
    ended = list(seeds._side_by_side(lambda seed: (trial(seed, 0.1),), range(5)))
    assert sorted(own[0].seed for own in ended) == [0, 1, 2, 3, 4]


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(LabError, match="a process that runs worlds ended with 3"):
        list(seeds._side_by_side(lambda seed: os._exit(3), [1]))
