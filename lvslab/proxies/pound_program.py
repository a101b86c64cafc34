"""`python -m lvslab.proxies.pound_program`: gets Pound from a newer Debian suite into the cache,
unless it is there.
"""

from __future__ import annotations

import sys

from lvslab.errors import LvslabError
from lvslab.proxies import pound_package


def main() -> int:
    """Get it, telling how far it is; returns the exit code."""
    try:
        found = pound_package.fetch(tell=lambda event: print(event.text, file=sys.stderr))
    except LvslabError as error:
        print(f"lvslab: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"pound {found.version}: {found.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
