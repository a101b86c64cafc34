"""`lvslab` with Debian 13's User-Mode Linux kernel in place of the installed one: for commands of
tests that have the fixture `quick_guests`.
"""

from __future__ import annotations

from contextlib import suppress

from lvslab.catalog import catalog
from lvslab.cli import main
from lvslab.errors import CannotError
from lvslab.kernels.uml import UmlKernel

if __name__ == "__main__":
    with suppress(CannotError):
        quick = catalog.find("debian/trixie")
        UmlKernel.installed = lambda: quick  # type: ignore[method-assign,assignment,return-value]
    main()
