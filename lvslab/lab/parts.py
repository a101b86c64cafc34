"""Mininet's classes that labs are made of, imported without all of setuptools.

mininet.node imports `distutils.version`, a few lines. Python has them until 3.12, but where
setuptools is installed it takes the name over (`_distutils_hack`) and loads all of itself first:
half the time of a command that starts nothing.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module


@contextmanager
def _own_distutils() -> Iterator[None]:
    """Python's own distutils within the block, where it has them, and nothing of it afterwards: who
    asks then gets setuptools', as always.
    """
    if sys.version_info >= (3, 12) or "distutils" in sys.modules:
        yield
        return
    finders = sys.meta_path[:]
    sys.meta_path[:] = [each for each in finders if type(each).__name__ != "DistutilsMetaFinder"]
    try:
        with warnings.catch_warnings(), suppress(ImportError):
            warnings.simplefilter("ignore", DeprecationWarning)
            import_module("distutils.version")
    finally:
        sys.meta_path[:] = finders
    yield
    for name in [each for each in sys.modules if each.partition(".")[0] == "distutils"]:
        del sys.modules[name]


with _own_distutils():
    from mininet.link import Intf as Intf
    from mininet.link import Link as Link
    from mininet.net import Mininet as Mininet
    from mininet.node import Host as Host
    from mininet.node import Node as Node
    from mininet.nodelib import LinuxBridge as LinuxBridge
