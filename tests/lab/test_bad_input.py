"""Bad input that only a kernel, or a running lab, can tell: one line, the right exit code, and
nothing left where nothing was measured.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.conftest import run_lvslab

pytestmark = pytest.mark.usefixtures("quickest_guests")

SCENARIO = """from lvslab.scenario import scenario

@scenario(title="t", teaches="t", modes=["nat"])
def run(log):
    with log.lab("nat") as lab:
        {line}
"""

LAB = '''"""# A lab of one's own"""
from lvslab.training.exercise import exercise

@exercise(
    group="path", number=1, mode="nat", hints=["try"], solution={"director": "true"}, fails="answers"
)
def check(exam):
    exam.shall("pass")
'''


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("verify nat --set foo.bar=1", ("foo.bar=1", "no such sysctl")),
        ("verify nat --set net.ipv4.vs.drop_packet=abc", ("drop_packet=abc", "does not take the value abc")),
        ("run drain --set net.ipv4.vs.nosuch=1", ("nosuch=1", "no such sysctl")),
        ("run l4-versus-l7 --seconds 1", ("100 requests", "110")),
    ],
)
def test_what_a_kernel_refuses_leaves_nothing(tmp_path: Path, line: str, words: tuple[str, ...]) -> None:
    done = run_lvslab(*line.split(), cwd=tmp_path)
    last = done.err.strip().splitlines()[-1]
    assert (done.code, done.out) == (2, ""), done.out + done.err
    assert last.startswith("lvslab: ") and all(word in last for word in words), done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lab.nosuch()", "own.py, line 6: AttributeError: 'Lab' object has no attribute 'nosuch'"),
        ("log.trial(lab, variant='x', expects='y', rate=-5).__enter__()", "own.py, line 6: prober: rate -5"),
    ],
)
def test_a_mistake_in_a_running_scenario_is_shown_with_its_line(
    tmp_path: Path, line: str, words: str
) -> None:
    (tmp_path / "own.py").write_text(SCENARIO.format(line=line))
    done = run_lvslab("run", "own.py", "--no-report", cwd=tmp_path)
    assert done.code == 2 and words in done.err, done.out + done.err
    assert "Traceback" not in done.out + done.err
    assert len(list(tmp_path.glob("runs/*/logs/traceback.txt"))) == 1


def test_a_set_up_step_that_fails_in_a_running_scenario_is_shown_with_its_line(tmp_path: Path) -> None:
    text = SCENARIO.format(line="pass")
    wrong = text.replace('log.lab("nat")', 'log.lab("nat", sysctls={"net.ipv4.vs.nosuch": 1})')
    (tmp_path / "own.py").write_text(wrong)
    done = run_lvslab("run", "own.py", "--no-report", cwd=tmp_path)
    assert done.code == 2 and "own.py, line 5: lvs: " in done.err and "nosuch" in done.err, (
        done.out + done.err
    )


def test_a_mistake_in_the_check_of_a_lab_is_shown_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "own.py").write_text(LAB)
    started = run_lvslab("train", "start", "own.py", cwd=tmp_path)
    try:
        assert started.code == 0, started.err
        done = run_lvslab("train", "check", cwd=tmp_path)
        assert done.code == 2, done.out + done.err
        assert "own.py, line 8: AttributeError: 'Exam' object has no attribute 'shall'" in done.err
    finally:
        run_lvslab("train", "stop", cwd=tmp_path)
