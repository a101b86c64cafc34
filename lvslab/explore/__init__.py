"""The search for failures in virtual time: faults drawn by seed, worlds judged by invariants, and
what breaks one shrunk to the shortest schedule that still does.
"""

from lvslab.explore.repeating import repeat
from lvslab.explore.schedule import Injection, Setup

__all__ = ["Injection", "Setup", "repeat"]
