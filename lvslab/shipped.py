"""Where the topologies and scenarios that come with lvslab are: beside the package in a checkout,
inside it when installed.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_files(kind: str) -> dict[str, Path]:
    """Name → file, for kind "topologies" or "scenarios"; names are file names with "-" for "_"."""
    installed = _PACKAGE / "shipped" / kind
    directory = installed if installed.is_dir() else _PACKAGE.parent / kind
    return {
        path.stem.replace("_", "-"): path
        for path in sorted(directory.glob("*.py"))
        if not path.stem.startswith("_")
    }
