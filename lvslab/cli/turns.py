"""What `run` and `verify` share where several kernels or settings take turns: options, cells, and
whether kernels take the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lvslab.catalog.choice import check_kernel, kernels_for
from lvslab.runs.words import plural

if TYPE_CHECKING:
    from lvslab.events import Listener
    from lvslab.kernels.needs import Kernels
    from lvslab.scenario.cells import Cell
    from lvslab.scenario.jobs import Settings

KERNELS = click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="NAME",
    help=(
        "Kernel of the directors: host, uml, or one of `lvslab kernels`; by default the cheapest that has"
        " what the mode needs. Several take turns and are compared."
    ),
)
BASELINE = click.option(
    "--baseline",
    type=click.Choice(["keep", "compare"]),
    help=(
        "Keep the finished run to compare later ones with, or compare it with the newest that was kept of the"
        " same configuration."
    ),
)


def cells_of(kernels: Sequence[str], read: Settings) -> tuple[Cell, ...]:
    """The cells that a command line means.

    Raises:
        UsageError, CannotError: a kernel that there is not.
    """
    from lvslab.scenario.cells import cells

    for kernel in kernels:
        check_kernel(kernel)
    return cells(kernels, read.sysctls, read.varied)


def kernels_of(needs: Sequence[Any], cells: Sequence[Cell], usual: str | None = None) -> Kernels:
    """The kernels of this machine, and those that the cells name; every cell chooses among the
    same.

    Args:
        usual: the kernel that is meant where no cell names one; by default any that does.
    """
    from lvslab.catalog import catalog

    named = list(dict.fromkeys(kernel for cell in cells for kernel in cell.kernels))
    named = named or ([usual] if usual else [])
    return catalog.including(kernels_for(needs, named[0] if len(named) == 1 else None), named)


def try_settings(cells: Sequence[Cell], machine: Kernels, listener: Listener) -> Sequence[Cell]:
    """Find out by trial whether the kernels take the sysctls, before anything else starts. Kernels
    in virtual time are not tried: what they do not take ends their lab when it is set up.

    Raises:
        UsageError: no kernel takes one of them.
    """
    from lvslab.kernels.virtual_time import VirtualTimeKernel

    named = {kernel for cell in cells for kernel in cell.kernels}
    virtual = any(machine.facts[kernel].kind == VirtualTimeKernel.kind for kernel in named)
    if virtual or not any(cell.sysctls for cell in cells):
        return cells
    import tempfile

    from lvslab.host.sandbox import PRIVATE_DIRECTORY
    from lvslab.scenario.settings import tried

    with tempfile.TemporaryDirectory(dir=PRIVATE_DIRECTORY) as logs:
        return tried(cells, machine, listener, Path(logs))


def cell_lines(cells: Sequence[Cell], repeat: int) -> list[str]:
    """The cells for --dry-run."""
    if len(cells) == 1:
        return [f"  {name}={value} (sysctl of the directors)" for name, value in cells[0].sysctls.items()]
    lines = [f"{len(cells)} cells, {plural(repeat, 'repetition')} of each, in turns:"]
    for cell in cells:
        own = [f"kernel {cell.kernel}"] if cell.kernel else []
        lines.append(
            f"  {cell.name}:"
            f" {', '.join([*own, *(f'{name}={value}' for name, value in cell.sysctls.items())])}"
        )
    return lines
