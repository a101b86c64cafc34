"""What the doctor finds on the directors of a rehearsal, and in their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lvslab.doctor import gather
from lvslab.doctor.diagnose import report
from lvslab.doctor.evidence import Machine
from lvslab.reading.keepalived import Keepalived
from lvslab.reading.ldirectord import Ldirectord
from lvslab.rehearse.director import Director
from lvslab.rehearse.lab import RehearsalLab


def findings(lab: RehearsalLab) -> tuple[Mapping[str, Any], ...]:
    """Each as `lvslab doctor --json` has it.

    Raises:
        LabError: a director does not answer.
    """
    directors = {director.name: director for director in lab.stage.directors}
    evidence = gather.of_lab(lab.lab, list(directors))
    machines = tuple(with_files(machine, directors[machine.name]) for machine in evidence.machines)
    return tuple(report(replace(evidence, machines=machines))["findings"])


def with_files(machine: Machine, director: Director) -> Machine:
    """A machine together with its daemon's configuration."""
    if isinstance(director.read, Keepalived):
        return replace(machine, keepalived=director.read)
    if isinstance(director.read, Ldirectord):
        return replace(machine, ldirectord=director.read)
    return machine
