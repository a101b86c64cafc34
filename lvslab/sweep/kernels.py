"""The kernel of a cell's directors: its identity, so that another build under the same name is
another cell.
"""

from __future__ import annotations

import hashlib
import platform
from dataclasses import dataclass
from functools import cache

from lvslab.bench import kernel as bench_kernels
from lvslab.catalog import catalog
from lvslab.catalog.virtual_time import entry_in_virtual_time
from lvslab.errors import UsageError
from lvslab.kernels.kinds import CHEAPEST, HOST, KINDS
from lvslab.kernels.machine import Kernel


@dataclass(frozen=True)
class KernelOfCell:
    """What a cell's key needs of its kernel.

    Attributes:
        identity: changes whenever the kernel or its modules do.
        schedulers: of IPVS, that work in it; none: not known.
    """

    identity: str
    schedulers: tuple[str, ...] = ()

    @property
    def guest(self) -> str:
        """The identity of the kernel that guests boot, whatever the machine's own is."""
        return self.identity.rpartition(", ")[2]

    def require(self, scheduler: str | None) -> None:
        """
        Raises:
            UsageError: the kernel has no such scheduler.
        """
        if scheduler and self.schedulers and scheduler not in self.schedulers:
            raise UsageError(
                f"scheduler '{scheduler}': the kernel does not have it; it has: {', '.join(self.schedulers)}"
            )


@cache
def kernel_of(kind: str, time: str, name: str) -> KernelOfCell:
    """The kernel that a cell's directors run; without a name the one that lvslab takes by itself.

    Raises:
        UsageError: this is no kernel's name, or none for such a cell.
        CannotError: it is not here; names the command that gets it.
    """
    if kind == "bench":
        return KernelOfCell(_content(bench_kernels.find(name or None).stock))
    if time == "virtual":
        entry = entry_in_virtual_time(name or None)
        return KernelOfCell(_content(entry.kernel()), entry.schedulers)
    host = f"{HOST} {platform.release()}"
    if name == HOST:
        return KernelOfCell(host)
    if not name:  # the cheapest that has what each node needs
        return KernelOfCell(f"{host}, {CHEAPEST.kind} {_content(CHEAPEST.installed())}")
    if name in KINDS:
        return KernelOfCell(_content(catalog.find(name)))
    entry = catalog.find_entry(name)
    return KernelOfCell(_content(entry.kernel()), entry.schedulers)


def _content(kernel: Kernel) -> str:
    """What a guest's kernel is made of, the same on every machine: `Kernel.identity` knows the
    files of one machine.
    """
    digest = hashlib.sha256(repr(kernel.extra_arguments).encode())
    for file in (kernel.image_file, kernel.modules.directory / "modules.dep"):
        digest.update(file.read_bytes())
    return digest.hexdigest()
