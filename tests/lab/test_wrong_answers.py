"""Answers to training labs that only look right: each fails the exam, at the point that asks for
what it left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lvslab.training.exercise import Exercise, load_all
from tests.lab.conftest import QUICK, QUICKEST, guests_of, in_sandbox
from tests.lab.exercise_runs import judged

LABS = {each.name: each for each in load_all()}


def _without(exercise: Exercise, line: str) -> Mapping[str, str]:
    """The lab's own solution without the line of the director that begins so."""
    whole = exercise.solution["director"].splitlines(keepends=True)
    left = [each for each in whole if not each.startswith(line)]
    assert len(left) == len(whole) - 1
    return {**exercise.solution, "director": "".join(left)}


def _instead(exercise: Exercise, old: str, new: str) -> Mapping[str, str]:
    """The lab's own solution with other words."""
    assert old in exercise.solution["director"]
    return {**exercise.solution, "director": exercise.solution["director"].replace(old, new)}


BALANCER, FLOOD = LABS["first-balancer"], LABS["syn-flood"]
_KEEPING = "ipvsadm -S -n >/root/rules\nipvsadm -C\nipvsadm -R </root/rules\n"

WRONG = [
    (BALANCER, _instead(BALANCER, ":8080", ":80"), "the servers' port"),
    (BALANCER, _instead(BALANCER, "-s rr", "-s wrr"), "round robin"),
    (BALANCER, _instead(BALANCER, _KEEPING, ""), "the table is kept"),
    (
        BALANCER,
        _instead(
            BALANCER,
            _KEEPING,
            "ipvsadm -S -n >/root/rules\nipvsadm -e -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 2\n",
        ),
        "the table is kept",
    ),
    (FLOOD, _without(FLOOD, "iptables -A INPUT -d 10.0.0.10 -p tcp -m state"), "no trace of SYN-ACKs"),
]


@pytest.mark.parametrize(
    ("exercise", "answer", "point"), WRONG, ids=[f"{lab.name}-{point}" for lab, _, point in WRONG]
)
def test_an_answer_that_only_looks_right_fails(
    exercise: Exercise, answer: Mapping[str, str], point: str
) -> None:
    with guests_of(QUICK if exercise is FLOOD else QUICKEST):
        assert in_sandbox(judged, exercise, answer) == point
