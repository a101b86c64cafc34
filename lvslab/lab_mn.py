"""Lab nodes for Mininet's own command, `mn --host lab`."""

from __future__ import annotations

from typing import Any


class LabNode:
    """Host class for `mn --host lab`: a node on a kernel that has what it needs, on the machine's
    own where that suffices.
    """

    def __new__(cls, name: str, **options: Any) -> Any:
        from lvslab.network.nodes import node_on_fitting_kernel  # loads Mininet's node classes

        return node_on_fitting_kernel(name, **options)
