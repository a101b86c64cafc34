"""Files from the disk, as keepalived's `include` asks for them."""

from __future__ import annotations

import glob
from pathlib import Path


def included(pattern: str, file: str) -> list[tuple[str, str]] | None:
    """Name and text of each file that a pattern stands for, seen from the folder of the file that
    includes it; None: there is none, or one cannot be read. It is an `Include` of
    `lvslab.reading.expansion`.
    """
    try:
        names = sorted(glob.glob(str(Path(file).parent / pattern)))  # noqa: PTH207 (it may be absolute)
        files = [(name, Path(name).read_text(errors="replace")) for name in names if Path(name).is_file()]
    except (OSError, ValueError):
        return None
    return files or None
