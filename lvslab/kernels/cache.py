"""Where lvslab keeps kernels and what it found out about them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def cache_directory() -> Path:
    """Below $XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvslab" / "kernels"


def place(new: Path, target: Path) -> None:
    """Let a finished directory appear under its name; one that stands there is moved aside first.

    Both must lie on one file system, `new` in a working directory.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(new.with_name(f"{new.name}-before"))
    new.rename(target)


def keep(path: Path, write: Callable[[Path], object]) -> bool:
    """Make a file of the cache whole or not at all: `write` fills a temporary one, which is then
    renamed.

    Returns:
        Whether it was kept; a cache that cannot be written (read-only, full) is no error, the work
        is done again next time.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
        return True
    except OSError:
        return False
    finally:  # also when it was interrupted
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
