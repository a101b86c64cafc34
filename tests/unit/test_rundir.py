"""The run directory: what is written is read back, and no crash, full disk or newer format is
mistaken for a result.
"""

from __future__ import annotations

import errno
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import GuestError, LabError, UsageError
from lvslab.runs import records
from lvslab.runs.rundir import load
from lvslab.runs.writer import RunWriter
from tests.unit import sample_failover, sample_lab, sample_run


def _document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((path / "run.json").read_text())
    return document


def _edit(path: Path, **changes: object) -> None:
    (path / "run.json").write_text(json.dumps({**_document(path), **changes}))


def _sample(run: RunWriter, value: float | None = 1.0, **more: Any) -> None:
    run.sample(lab="nat", mode="nat", metric="throughput", unit="bit/s", repeat=0, value=value, **more)


def test_a_complete_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    run = load(sample_run.complete(tmp_path))
    assert (run.status, run.error, run.warnings) == ("complete", None, ())
    assert run.modes == sample_lab.MODES
    assert run.command[0] == "lvslab" and run.tools["tcpdump"] is None
    lab = run.labs[3]
    assert [node.role for node in lab.nodes] == ["client", "director", "real server", "real server"]
    assert lab.nodes[1].extra_addresses == ("10.0.0.10/32 on lvs-eth0", "10.0.1.201/32 on lvs-eth1")
    assert lab.nodes[1].kernel is not None and lab.nodes[1].kernel.kind == "uml"
    assert lab.counters[0].conns == 3600 and lab.counters[0].servers[1].name == "rs2"
    assert len(run.of("throughput")) == 15 and len(run.of("throughput", "tun")) == 3
    latency = run.of("latency", "dr")[0]
    assert latency.value is None and latency.values is not None and len(latency.values) == 400
    assert run.of("answers", "dr")[0].labels == {"server": "rs1"}
    assert run.paths["tun"].flows[0].steps[1].outer is not None
    assert run.results[0].checks[2].name == "the connections are spread evenly"


def test_the_directory_has_the_documented_name_and_folders(tmp_path: Path) -> None:
    with RunWriter(
        tmp_path / "runs", "two words/..", kind="run", command=[], clock=lambda: 1_760_000_000.0
    ) as run:
        assert run.path.name == "20251009-085320-two-words"
        assert run.captures.is_dir() and run.logs.is_dir()
        assert _document(run.path)["status"] == "running" and load(run.path).status == "running"


def test_two_runs_of_the_same_second_get_two_directories(tmp_path: Path) -> None:
    paths = [sample_run.empty(tmp_path) for _ in range(3)]
    assert [path.name.removeprefix(paths[0].name) for path in paths] == ["", "-2", "-3"]


def test_an_interrupted_and_a_broken_run_say_so(tmp_path: Path) -> None:
    interrupted = load(sample_run.interrupted(tmp_path))
    assert interrupted.status == "interrupted" and interrupted.finished
    broken = load(sample_run.empty(tmp_path))
    assert (broken.status, broken.error) == ("broken", "RuntimeError: no space for the guests")
    writer = sample_run.writer(tmp_path, "guest")
    with pytest.raises(GuestError), writer:
        raise GuestError("lvs: the guest kernel panicked")
    assert load(writer.path).error == "lvs: the guest kernel panicked"


def test_a_lab_added_again_replaces_its_first_entry(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        for mode in ("nat", "dr"):
            run.add_lab(sample_lab.lab(mode))
        run.add_lab(sample_lab.counted(sample_lab.lab("nat"), 10))
    labs = load(run.path).labs
    assert [lab.name for lab in labs] == ["nat", "dr"] and labs[0].counters and not labs[1].counters


def test_a_trial_is_read_back_and_one_added_again_replaces_its_first_entry(tmp_path: Path) -> None:
    case = sample_failover.CRASH[1]
    entry = sample_failover.trial(case, "nat", 2, 1000.0, repair=7.0, end=9.0)
    entry = replace(entry, marks=tuple(reversed(entry.marks)))
    with sample_run.writer(tmp_path) as run:
        assert run.probes == run.path / "probes" and run.probes.is_dir()
        run.add_trial(replace(entry, end=None, marks=(), bound=None, verdict=None))
        assert load(run.path).trials[0].end is None and load(run.path).trials[0].bound is None
        run.add_trial(replace(entry, name="other", interval=None))
        run.add_trial(entry)
    read = load(run.path)
    first, other = read.trials
    assert read.probes == run.probes
    assert (first.name, first.variant, first.mode, first.lab, first.repeat) == (
        "mon-nat-2",
        "mon",
        "nat",
        "nat-mon",
        2,
    )
    assert (first.start, first.end, first.interval, first.timeout, first.heartbeat) == (
        1000.0,
        1009.0,
        0.01,
        0.5,
        None,
    )
    assert [mark.kind for mark in first.marks] == ["fault", "control", "table", "repair", "table"]
    assert (
        first.marks[0].node == "rs1"
        and first.bound is not None
        and first.bound.formula == "interval + timeout + alert"
    )
    assert first.verdict == "pass" and first.expects == entry.expects
    assert other.name == "other" and other.interval is None


def test_a_run_of_before_there_were_trials_has_none(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    document = _document(path)
    del document["trials"]
    (path / "run.json").write_text(json.dumps(document))
    assert load(path).trials == ()


def test_a_mark_of_a_later_version_is_a_note(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    marks = [{"t": 2.0, "kind": "bgp", "node": "lvs", "text": "withdrawn"}]
    _edit(path, trials=[{"name": "a", "repeat": 1, "start": 1.0, "marks": marks}])
    mark = load(path).trials[0].marks[0]
    assert (mark.kind, mark.text) == ("note", "withdrawn")


def test_what_is_known_late_is_added(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        run.update(tools={"nginx": "1.22"}, host={"cpus": 4})
        run.add_not_comparable("never")
        run.add_event("nat", "killed", "rs1", t=5.0)
    read = load(run.path)
    assert read.tools["nginx"] == "1.22" and read.tools["wrk"] == "wrk 4.1.0" and read.host["cpus"] == 4
    assert read.not_comparable == ("never",)
    assert read.events[0].t == 5.0 and read.events[0].detail == "rs1"


def test_a_truncated_last_sample_is_left_out_and_reported(tmp_path: Path) -> None:
    run = load(sample_run.interrupted(tmp_path))
    assert run.samples and len(run.warnings) == 1 and "the last sample was cut off" in run.warnings[0]


def test_a_broken_sample_in_the_middle_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    file = path / "samples.jsonl"
    lines = file.read_text().splitlines()
    lines[2] = lines[2][:20]
    file.write_text("\n".join(lines))
    with pytest.raises(UsageError, match=r"samples\.jsonl, line 3"):
        load(path)


def test_a_broken_path_file_costs_a_warning_not_the_run(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    (path / "captures" / "nat.path.json").write_text('{"lab": "nat", "flows"')
    run = load(path)
    assert not run.paths and "captures/nat.path.json" in run.warnings[0]


def test_a_run_without_samples_or_captures_is_read(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    (path / "samples.jsonl").unlink()
    assert load(path).samples == ()


def test_missing_is_none_and_an_error_is_kept(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        _sample(run, None, error="iperf3: no route to host")
    sample = load(run.path).samples[0]
    assert sample.value is None and sample.values is None and sample.error == "iperf3: no route to host"


def test_a_directory_that_is_no_run_is_refused_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such run directory"):
        load(tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"no run\.json in it"):
        load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="this is a file"):
        load(tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "flent"}, "its format is 'flent'"),
        ({"version": 2, "lvslab": "9.0"}, r"version 2 of the format by lvslab 9\.0.*use a newer lvslab"),
        ({"version": None}, "version None"),
        ({"status": "great"}, r"run\.json\.status: 'great' is not one of"),
        ({"labs": {"nat": 1}}, r"run\.json\.labs: a list is expected here, found dict"),
        ({"labs": [{"name": "nat"}]}, r"labs\[0\]\.mode: a string is expected here, it is missing"),
        (
            {"trials": [{"name": "a", "repeat": 1}]},
            r"trials\[0\]\.start: a number is expected here, it is missing",
        ),
        (
            {"trials": [{"name": "a", "repeat": 1, "start": 1, "verdict": "maybe"}]},
            r"trials\[0\]\.verdict: 'maybe' is not one of",
        ),
        (
            {"trials": [{"name": "a", "repeat": 1, "start": 1, "bound": {"formula": "x"}}]},
            r"trials\[0\]\.bound\.seconds: a number",
        ),
        (
            {"trials": [{"name": "a", "repeat": 1, "start": 1, "marks": [{"kind": "fault"}]}]},
            r"marks\[0\]\.t: a number is expected",
        ),
        (
            {"results": [{"name": "nat", "verdict": "maybe"}]},
            r"results\[0\]\.verdict: 'maybe' is not one of pass, fail, skip",
        ),
    ],
)
def test_what_this_version_does_not_understand_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    _edit(path, **changes)
    with pytest.raises(UsageError, match=message):
        load(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_broken_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json"):
        load(tmp_path)


def test_keys_of_a_later_writer_are_ignored(tmp_path: Path) -> None:
    path = sample_run.complete(tmp_path, modes=["nat"])
    _edit(path, colour="green")
    assert load(path).status == "complete"


def test_run_json_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename that fails leaves the old text, no temporary file, and one line that names
    the file.
    """
    with sample_run.writer(tmp_path) as run:
        run.add_lab(sample_lab.lab("nat"))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", _full)
            with pytest.raises(
                LabError, match=r"run\.json: cannot be written: No space left on device"
            ) as caught:
                run.add_lab(sample_lab.lab("dr"))
        assert "\n" not in str(caught.value)
        assert [lab["name"] for lab in _document(run.path)["labs"]] == ["nat"]
        assert not list(run.path.glob("*.new"))


def test_a_sample_on_a_full_disk_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        _sample(run)
        real = run._samples
        assert real is not None
        run._samples = _FullAfterTenBytes(real)  # type: ignore[assignment]
        with pytest.raises(LabError, match=r"samples\.jsonl: cannot be written: No space left on device"):
            _sample(run, 2.0)
        run._samples = real
        _sample(run, 3.0)
    read = load(run.path)
    assert [sample.value for sample in read.samples] == [1.0, 3.0] and not read.warnings


def test_a_full_disk_at_the_end_does_not_hide_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GuestError), sample_run.writer(tmp_path) as run:
        monkeypatch.setattr(Path, "replace", _full)
        raise GuestError("lvs died")
    assert _document(run.path)["status"] == "running"


def test_a_root_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="cannot be written"), sample_run.writer(tmp_path / "file"):
        pass


def test_a_sample_after_the_end_is_refused(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:
        pass
    with pytest.raises(LabError, match="the run is not open"):
        _sample(run)


def test_many_threads_may_write_at_once(tmp_path: Path) -> None:
    with sample_run.writer(tmp_path) as run:

        def work(number: int) -> None:
            for _ in range(50):
                _sample(run, float(number))
                run.add_event("nat", f"event {number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read = load(run.path)
    assert len(read.samples) == 200 and len(read.events) == 200


def test_the_version_written_is_the_version_read() -> None:
    assert (records.FORMAT, records.VERSION) == ("lvslab-run", 1)


def _full(*_: object) -> Path:
    raise OSError(errno.ENOSPC, "No space left on device")


class _FullAfterTenBytes:
    """A file on a disk with room for ten more bytes."""

    def __init__(self, file: Any) -> None:
        self._file, self._room = file, 10

    def write(self, text: bytes) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written, self._room = self._file.write(text[: self._room]), 0
        return int(written)

    def fileno(self) -> int:
        return int(self._file.fileno())
