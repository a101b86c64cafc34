"""Results as data: the runs of folders and sweeps as tidy tables, for pandas and for files.

    from lvslab.results import load

    data = load("runs/sweep-modes")
    data.samples.groupby(["mode", "servers", "metric"]).value.median()

`tables.py` says what a table holds (docs/data.md explains it), `gather.py` reads run directories,
`export.py` writes files, `page.py` draws a sweep's page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lvslab.results.gather import gather

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Results:
    """The tables as pandas frames; their columns stand in docs/data.md."""

    runs: DataFrame
    samples: DataFrame
    trials: DataFrame
    verdicts: DataFrame


def load(*folders: Path | str) -> Results:
    """Read run directories and folders of sweeps.

    Raises:
        UsageError: one is neither.
        CannotError: pandas is not installed.
    """
    from lvslab.results.export import frames

    return Results(**frames(gather([Path(folder) for folder in folders])))
