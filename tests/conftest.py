"""What all tests need of the process that they run in."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

CASES = int(os.environ.get("LVSLAB_CASES", "0"))
"""Generated cases of a property, where it does not say itself how many it needs: many, and new ones
each time, in `make soak`. Else there are few, the same in every run: what fails then is the change.
"""
_FEW = 25


def pytest_configure() -> None:
    """Let interrupts arrive, here and in every program that a test starts; let generated cases take
    their time.

    A shell starts what it puts into the background with SIGINT ignored, children inherit that
    (signal(7)), and Python then installs no handler: tests of an interruption would wait in vain.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # how long one case may take says more about what else the machine does than about lvslab
    settings.register_profile("lvslab", deadline=None, max_examples=CASES or _FEW, derandomize=not CASES)
    settings.load_profile("lvslab")
