"""Whether kernels take the sysctls that a matrix wants to set, found by trial before the matrix
starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lvslab.errors import UsageError
from lvslab.events import Event, Listener
from lvslab.kernels.needs import Kernels
from lvslab.lab.lab import Lab
from lvslab.modes import mode_named
from lvslab.modes.base import Sysctl, sysctl_file
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.scenario.cells import Cell


def tried(cells: Sequence[Cell], kernels: Kernels, listener: Listener, logs: Path) -> tuple[Cell, ...]:
    """The cells, those whose kernel does not take their sysctls marked as unable.

    Each kernel boots once, as the director of a small lab, and every sysctl is set to every value
    in turn.

    Raises:
        UsageError: no kernel takes a setting.
        CannotError: there is no such kernel here.
        LabError: a kernel did not boot.
    """
    refused: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for cell in cells:
        if cell.kernels not in refused:
            wanted = dict.fromkeys(
                pair for each in cells if each.kernels == cell.kernels for pair in each.sysctls.items()
            )
            refused[cell.kernels] = (
                _refused(cell, list(wanted), kernels, listener, logs / str(len(refused))) if wanted else {}
            )
    for pair in dict.fromkeys(pair for cell in cells for pair in cell.sysctls.items()):
        having = [cell for cell in cells if pair in cell.sysctls.items()]
        if all(pair in refused[cell.kernels] for cell in having):
            raise UsageError(f"--set {'='.join(pair)}: {refused[having[0].kernels][pair]}")
    return tuple(replace(cell, unable=_reason(cell, refused[cell.kernels])) for cell in cells)


def _reason(cell: Cell, refused: Mapping[tuple[str, str], str]) -> str:
    return next((refused[pair] for pair in cell.sysctls.items() if pair in refused), "")


def _refused(
    cell: Cell, wanted: Sequence[tuple[str, str]], kernels: Kernels, listener: Listener, logs: Path
) -> dict[tuple[str, str], str]:
    """Settings that the kernel of a cell does not take, each with the reason."""
    logs.mkdir(parents=True)
    plan = make_plan(LabSpec(mode_named("nat"), servers=1, name="settings", kernels=cell.kernels), kernels)
    facts = kernels.facts[plan.director.kernel]
    listener(Event("settings", "boot", f"trying {len(wanted)} settings on kernel {facts.release}"))
    found = {}
    with Lab(plan, logs) as lab:
        for name, value in wanted:
            action = Sysctl(name, value)
            if lab.director.run(action.fast()).code == 0:
                continue
            there = lab.director.run(f"test -e {sysctl_file(name)}").code == 0
            problem = f"does not take the value {value}" if there else "has no such sysctl"
            found[name, value] = f"kernel {facts.release} {problem}"
    return found
