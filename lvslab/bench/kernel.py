"""The kernels that can be measured: stock ones, by the names that users and results give them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lvslab.catalog import catalog
from lvslab.catalog.sources import is_name
from lvslab.errors import CannotError, UsageError
from lvslab.kernels.kinds import HOST, KINDS
from lvslab.kernels.qemu import BOOT, MODULES, QemuKernel


@dataclass(frozen=True)
class BenchKernel:
    """A stock kernel with its name.

    Attributes:
        name: what it is called in results: as the user says it, or its release where that was a
            directory.
    """

    name: str
    stock: QemuKernel

    @property
    def release(self) -> str:
        """As `uname -r` in it prints."""
        return self.stock.modules.release


def find(name: str | None, boot: Path = BOOT, modules: Path = MODULES) -> BenchKernel:
    """The kernel that a name means: the release of an installed one, a directory, or one of
    `lvslab kernels`.

    Without a name: the newest installed, or else the first stock kernel of `lvslab kernels`.

    Raises:
        UsageError: there is nothing of this name, or it is no kernel that can be measured.
        CannotError: no kernel is installed, or it cannot be read.
    """
    installed = {stock.modules.release: stock for stock in QemuKernel.all_installed(boot, modules)}
    if name is None:
        return BenchKernel(*list(installed.items())[-1]) if installed else _first_of_catalog(boot)
    if name in installed:
        return BenchKernel(name, installed[name])
    if is_name(name):
        return _from_catalog(name)
    if Path(name).is_dir():
        return _in_directory(Path(name))
    if name in (HOST, *KINDS):
        raise UsageError(
            f"kernel '{name}': is no stock kernel; bench takes bzImages, such as debian/trixie:cloud"
        )
    known = ", ".join(installed) or "none"
    raise UsageError(
        f"kernel '{name}': not installed (installed: {known}) and no directory; give a directory with vmlinuz"
        " and modules/"
    )


def _in_directory(directory: Path) -> BenchKernel:
    """The kernel in a directory of the user's.

    Raises:
        UsageError: the directory has another shape.
        CannotError: the image cannot be read.
    """
    try:
        stock = QemuKernel.at(directory)
    except CannotError as error:
        raise UsageError(f"kernel '{directory}': {error}, with its modules.dep (depmod(8))") from error
    if not os.access(stock.image, os.R_OK):
        raise CannotError(
            f"kernel '{directory}': {stock.image} cannot be read by this user; chmod a+r, or copy it"
        )
    return BenchKernel(stock.modules.release, stock)


def _from_catalog(name: str) -> BenchKernel:
    """A kernel that was fetched or added.

    Raises:
        UsageError: it is of a kind that does not boot under QEMU.
    """
    stock = catalog.find(name)
    if not isinstance(stock, QemuKernel):
        raise UsageError(
            f"kernel '{name}': is no stock kernel; bench takes bzImages, such as debian/trixie:cloud"
        )
    return BenchKernel(name, stock)


def _first_of_catalog(boot: Path) -> BenchKernel:
    """Any stock kernel that was fetched or added.

    Raises:
        CannotError: there is none.
    """
    for entry in catalog.entries():
        if entry.kind == QemuKernel.kind:
            return _from_catalog(entry.full_name)
    raise CannotError(
        f"{boot}: no kernel image that can be read, with its modules, and none was fetched; run: lvslab"
        " kernels fetch debian/bookworm:cloud"
    )
