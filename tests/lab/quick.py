"""`lvslab` with a fetched User-Mode Linux kernel in place of the installed one, for commands of
tests. The first argument names kernels, with commas between them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress

from lvslab.catalog import catalog
from lvslab.cli import main
from lvslab.errors import CannotError
from lvslab.kernels.machine import Kernel
from lvslab.kernels.uml import UmlKernel


def first_here(names: Iterable[str]) -> Kernel | None:
    """The first of some kernels that is here."""
    for name in names:
        with suppress(CannotError):
            return catalog.find(name)
    return None


if __name__ == "__main__":
    if quick := first_here(sys.argv.pop(1).split(",")):
        UmlKernel.installed = lambda: quick  # type: ignore[method-assign,assignment,return-value]
    main()
