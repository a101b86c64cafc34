"""Where the topologies and scenarios that come with lvslab are: beside the package in a checkout,
inside it when installed.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import SubprocessError
from types import ModuleType

from lvslab.errors import CommandError, LvslabError, UsageError

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


def load_module(path: Path, edit: Callable[[str], str] | None = None) -> ModuleType:
    """Execute a Python file of topologies, scenarios or training labs.

    Args:
        edit: changes its text first.

    Raises:
        UsageError: no such file, or it does not load; names file, line and cause.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    name = f"lvslab_file_{path.stem}_{abs(hash(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickling look a class's module up by name
    with mistakes_in(path):
        if edit is None:
            spec.loader.exec_module(module)
        else:
            text = edit(path.read_text(encoding="utf-8"))
            exec(compile(text, str(path.resolve()), "exec"), vars(module))
    return module


@contextmanager
def mistakes_in(path: Path, line: int | None = None, *, commands: bool = False) -> Iterator[None]:
    """What goes wrong in the block is a mistake in a Python file that somebody wrote.

    Args:
        line: named where no line of the file was being executed.
        commands: whether a command in a node that failed, in the set-up or run by the file, counts.

    Raises:
        UsageError: names the file, the line and the cause. Other errors of lvslab pass as they are.
    """
    try:
        yield
    except SyntaxError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}") from error
    except (OSError, SubprocessError):  # the machine's, more likely than the file's
        raise
    except (Exception, SystemExit) as error:
        counts = UsageError | CommandError if commands else UsageError
        if isinstance(error, LvslabError) and not isinstance(error, counts):
            raise
        message = str(error)
        if isinstance(error, UsageError) and message.startswith(str(path)):
            raise
        number = line_of(error, path) or line
        where = f"{path}, line {number}" if number else str(path)
        what = message if isinstance(error, LvslabError) else f"{type(error).__name__}: {message}"
        raise UsageError(f"{where}: {what}") from error


def line_of(error: BaseException, path: Path) -> int | None:
    """The innermost line of a file that was being executed when an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((each.lineno for each in reversed(frames) if Path(each.filename) == path.resolve()), None)
