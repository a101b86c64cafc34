"""Whether a stock kernel has a sysctl, known before it boots: from the names in its image and in
the modules that it loads.
"""

from __future__ import annotations

from collections.abc import Iterable

from lvslab.bench.kernel import BenchKernel
from lvslab.bench.measurements import COMMON_MODULES
from lvslab.errors import CannotError, UsageError
from lvslab.kernels import bzimage, initramfs


def require_known(kernel: BenchKernel, modules: Iterable[str], names: Iterable[str]) -> None:
    """Refuse sysctls whose last part stands nowhere in the kernel: what has no name there cannot be
    set (`procname` of struct ctl_table, include/linux/sysctl.h). Only its boot tells whether it is
    found under the whole name and takes the value.

    Args:
        modules: those that are loaded beside the common ones.
        names: with dots.

    Raises:
        UsageError: names the sysctl and the kernel.
    """
    wanted = {name: name.rpartition(".")[2].encode() + b"\0" for name in names}
    if not wanted:
        return
    try:
        image = bzimage.unpacked(bzimage.payload(kernel.stock.image.read_bytes()))
    except (OSError, CannotError):
        return  # the boot will say what is wrong with it
    if image is None:
        return  # nothing here unpacks it
    entries = initramfs.module_entries(kernel.stock.modules, [*COMMON_MODULES, *modules])
    for name, text in wanted.items():
        if text not in image and not any(text in entry.data for entry in entries):
            raise UsageError(f"--set {name}: kernel '{kernel.name}' has no such sysctl")
