"""Which kernel takes part in a world in virtual time."""

from __future__ import annotations

from pathlib import Path

from lvslab.catalog import catalog
from lvslab.catalog.catalog import CatalogEntry
from lvslab.errors import CannotError, UsageError
from lvslab.kernels.kinds import HOST, KINDS
from lvslab.kernels.virtual_time import VirtualTimeKernel

_MAKE_ONE = "lvslab kernels build debian/trixie --virtual-time"


def entry_in_virtual_time(name: str | None = None, cache: Path | None = None) -> CatalogEntry:
    """The kernel of a name, refused at once where it has no virtual time; by default the one that
    was built last.

    Args:
        cache: by default `cache.cache_directory()`.

    Raises:
        UsageError: this is no kernel's name, or that of one on the real clock.
        CannotError: it is not here, or none is; names the command that makes one.
    """
    here = [entry for entry in catalog.entries(cache) if entry.kind == VirtualTimeKernel.kind]
    known = f" (here: {', '.join(entry.full_name for entry in here)})" if here else ""
    if name is None or name == VirtualTimeKernel.kind:
        if not here:
            raise CannotError(f"virtual time: no kernel for it is here; run: {_MAKE_ONE}")
        return max(here, key=lambda entry: entry.fetched)
    if name in (HOST, *KINDS) or (entry := catalog.find_entry(name, cache)).kind != VirtualTimeKernel.kind:
        raise UsageError(f"kernel '{name}': has no virtual time{known}; build one that has: {_MAKE_ONE}")
    return entry


def kernel_in_virtual_time(name: str | None = None, cache: Path | None = None) -> VirtualTimeKernel:
    """The same, to boot it (see `entry_in_virtual_time`)."""
    kernel = entry_in_virtual_time(name, cache).kernel()
    assert isinstance(kernel, VirtualTimeKernel)
    return kernel
