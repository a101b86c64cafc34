"""Lab nodes for Mininet's own command, `mn --host lab`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvslab.kernels.kinds import HOST
from lvslab.kernels.needs import Need

if TYPE_CHECKING:
    from lvslab.lab.nodes import LabMachine


class LabNode:
    """Host class for `mn --host lab`: a node on a kernel that has what it needs, on the machine's
    own where that suffices.
    """

    def __new__(cls, name: str, **options: Any) -> Any:
        return node_on_fitting_kernel(name, **options)


def node_on_fitting_kernel(name: str, needs: frozenset[Need] = frozenset(), **options: Any) -> LabMachine:
    """A node on the cheapest kernel that has what it needs: what `mn --host lab` makes.

    Raises:
        CannotError: there is no such kernel here.
    """
    from lvslab.kernels import probe
    from lvslab.lab.nodes import (
        GuestNode,
        LabHost,
    )  # topologies name this class; Mininet is for those that run

    kernel, _ = probe.kernels_here(needs).choose(needs, None, name)
    if kernel == HOST:
        return LabHost(name, **options)
    return GuestNode(name, needs=needs, **options)
