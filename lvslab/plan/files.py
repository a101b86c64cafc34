"""Where the topologies and scenarios that come with lvslab are: beside the package in a checkout,
inside it when installed.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from lvslab.errors import UsageError

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_files(kind: str) -> dict[str, Path]:
    """Name → file, for kind "topologies" or "scenarios"; names are file names with "-" for "_"."""
    installed = _PACKAGE / "shipped" / kind
    directory = installed if installed.is_dir() else _PACKAGE.parent / kind
    return {
        path.stem.replace("_", "-"): path
        for path in sorted(directory.glob("*.py"))
        if not path.stem.startswith("_")
    }


def load_module(path: Path) -> ModuleType:
    """Execute a Python file of topologies or scenarios.

    Raises:
        UsageError: no such file, or it does not load; names file, line and cause.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    name = f"lvslab_file_{path.stem}_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up by name
    try:
        spec.loader.exec_module(module)
    except UsageError:
        raise
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        lines = [
            each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(path)
        ]
        where = f", line {lines[-1]}" if lines else ""
        raise UsageError(f"{path}{where}: {type(error).__name__}: {error}") from error
    return module
