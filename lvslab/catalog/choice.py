"""The user's `--kernel`: whether such a kernel is here, and what it and its alternatives can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lvslab.kernels.kinds import HOST, KINDS

if TYPE_CHECKING:
    from lvslab.kernels.needs import Kernels, Need


def check_kernel(name: str | None) -> None:
    """Refuse a kernel that is not here, before anything starts.

    Raises:
        UsageError: this is no kernel's name.
        CannotError: it was not fetched; names the command that fetches it.
    """
    if name is not None and name not in (HOST, *KINDS):
        from lvslab.catalog import catalog

        catalog.find_entry(name)


def kernels_for(needs: Sequence[Need], name: str | None) -> Kernels:
    """What the kernels here can do, each found by trial; with a name only that one is tried for the
    needs.

    Raises:
        CannotError: a program that every lab needs is missing, or the kernel is.
    """
    from lvslab.catalog import catalog
    from lvslab.host.distribution import require_programs
    from lvslab.kernels import probe

    require_programs()
    kind = name if name in (HOST, *KINDS) else None
    return catalog.including(probe.kernels_here(needs, kind), [name] if name else [])
