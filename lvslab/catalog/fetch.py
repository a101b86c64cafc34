"""Fetches kernels into the catalog: their source lays them out, store.py boots them and lets their
entries appear.
"""

from __future__ import annotations

from pathlib import Path

from lvslab.catalog import store
from lvslab.catalog.catalog import CatalogEntry, entry_directory
from lvslab.catalog.sources import source_of
from lvslab.catalog.store import Candidate
from lvslab.events import Event, Listener, nobody
from lvslab.kernels.cache import cache_directory


def fetch(name: str, cache: Path | None = None, tell: Listener = nobody) -> CatalogEntry:
    """Get a kernel into the catalog; where this version is there already, that one is returned.

    Needs the machine's network, so it must not be called in a sandbox; the trial boot makes its
    own.

    Args:
        name: as its source writes it, for example `debian/SUITE[:FLAVOUR][=VERSION]`; without a
            version the newest is meant.
        cache: by default `cache.cache_directory()`.
        tell: takes progress.

    Raises:
        UsageError: no source has such names.
        CannotError: it cannot be had; the message says why and what helps.
        GuestError: it does not boot here.
    """
    source = source_of(name)
    wanted = source.parse(name)
    cache = cache or cache_directory()
    known = wanted.version and store.usable(entry_directory(cache, wanted))
    if known:
        tell(Event("", "fetch", f"{known.full_name}: is there already"))
        return known
    with store.opened(cache, source.needed_mib(wanted), tell) as work:
        delivery = source.find(wanted, work, cache, tell)
        target = entry_directory(cache, wanted, delivery.version)
        known = store.usable(target)
        if known:
            tell(Event("", "fetch", f"{known.full_name}: is there already, and is the newest"))
            return known
        new = work / "entry"
        new.mkdir()
        laid_out = delivery.lay_out(new)
        candidate = Candidate(
            wanted.name, delivery.version, new, target, laid_out.origin, laid_out.loader, laid_out.details
        )
        return store.admit(candidate, cache, tell)
