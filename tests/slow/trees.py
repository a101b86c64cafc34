"""A kernel source tree for tests that build kernels, and a cache of theirs.

LVSLAB_TREE names a tree or an archive; by default /usr/src/linux-source-*.tar.xz is taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lvslab.catalog import tree

LVSLAB = [sys.executable, "-m", "lvslab"]
TREES = [os.environ.get("LVSLAB_TREE", ""), *sorted(map(str, Path("/usr/src").glob("linux-source-*.tar.xz")))]
TREE = next((Path(each) for each in TREES if each), None)
needs_tree = pytest.mark.skipif(
    TREE is None, reason="no kernel source; run: apt-get install linux-source-6.1, or set LVSLAB_TREE"
)

ROUND_ROBIN = "net/netfilter/ipvs/ip_vs_rr.c"
NEXT_ONE = "\tsvc->sched_data = &dest->n_list;\n"
"""Without this line of ip_vs_rr_schedule the first server gets everything."""


def take_tree(where: Path) -> Path:
    """The tree as a directory that a test may change."""
    assert TREE is not None
    tree.take_over(tree.recognise(TREE), where, lambda event: None)
    return where


def lvslab(*words: str, seconds: float = 3000) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LVSLAB, *words], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL
    )
