"""Links and pictures of a page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lvslab.report import figures


@dataclass(frozen=True, slots=True)
class Linker:
    """Makes links from the page's folder to files of the run directory."""

    run: Path
    page: Path

    def __call__(self, name: str) -> str | None:
        """A relative link; None for a file that is not there or not inside the run directory."""
        file = (self.run / name).resolve()
        inside = file.is_relative_to(self.run.resolve())
        return (
            quote(Path(os.path.relpath(file, self.page.resolve())).as_posix())
            if inside and file.exists()
            else None
        )


def report_of(run: Path, folder: Path) -> tuple[str, bool]:
    """A link from a page's folder to the report of another run, and whether there is one; where
    none was drawn, it leads to the run directory.
    """
    report = run / "report.html"
    target = report if report.is_file() else run
    link = quote(Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix())
    return (link, True) if target == report else (f"{link}/", False)


def picture(drawn: figures.Drawn, folder: Path) -> dict[str, Any]:
    """A figure for the template, with the link to its file."""
    return {"drawn": drawn, "png": quote(drawn.png.relative_to(folder).as_posix()), "name": drawn.name}
