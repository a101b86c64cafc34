"""The kernels that can be measured: a stock image with its modules."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import CannotError, UsageError
from lvslab.kernels.initramfs import ModuleTree

BOOT, MODULES = Path("/boot"), Path("/lib/modules")


@dataclass(frozen=True)
class BenchKernel:
    """A bootable image (bzImage) and the modules that belong to it.

    Attributes:
        name: what it is called in results: as the user says it, or its release where that was a
            directory.
    """

    name: str
    release: str
    image: Path
    modules: ModuleTree

    @property
    def config_sha256(self) -> str | None:
        """Checksum of its build configuration, where the package brought it along; None
        otherwise.
        """
        for path in (
            self.modules.directory / "config",
            self.image.with_name(f"config-{self.release}"),
            self.image.with_name("config"),
        ):
            try:
                return hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError:
                continue
        return None


def installed(boot: Path = BOOT, modules: Path = MODULES) -> list[BenchKernel]:
    """The kernels of this machine whose image this user may read and whose modules are there, by
    release.
    """
    found = []
    for image in sorted(boot.glob("vmlinuz-*")):
        release = image.name.removeprefix("vmlinuz-")
        if _readable(image) and (modules / release / "modules.dep").exists():
            found.append(BenchKernel(release, release, image, ModuleTree(modules / release)))
    return found


def in_directory(directory: Path, name: str | None = None) -> BenchKernel:
    """The kernel in a directory with `vmlinuz` and `modules/<release>/`.

    Raises:
        UsageError: the directory has another shape.
        CannotError: the image cannot be read.
    """
    image, trees = (
        directory / "vmlinuz",
        sorted(path.parent for path in directory.glob("modules/*/modules.dep")),
    )
    if not image.exists() or len(trees) != 1:
        wanted = (
            "a kernel's directory has vmlinuz and one modules/<release>/ with its modules.dep (depmod(8))"
        )
        raise UsageError(
            f"kernel '{name or directory}': {directory} has not the shape that is needed; {wanted}"
        )
    if not _readable(image):
        raise CannotError(
            f"kernel '{name or directory}': {image} cannot be read by this user; chmod a+r, or copy it"
        )
    return BenchKernel(name or trees[0].name, trees[0].name, image, ModuleTree(trees[0]))


def find(name: str | None, boot: Path = BOOT, modules: Path = MODULES) -> BenchKernel:
    """The kernel that a name means: the release of an installed one, a directory, or one of
    `lvslab kernels`.

    Without a name: the newest installed, or else the first stock kernel of `lvslab kernels`.

    Raises:
        UsageError: there is nothing of this name, or it is no kernel that can be measured.
        CannotError: no kernel is installed, or it cannot be read.
    """
    here = installed(boot, modules)
    if name is None:
        if here:
            return max(here, key=lambda each: _natural(each.release))
        return _first_of_catalog(boot)
    for each in here:
        if each.release == name:
            return each
    if name.startswith(("debian/", "local/")):
        return _from_catalog(name)
    if Path(name).is_dir():
        return in_directory(Path(name))
    known = ", ".join(each.release for each in here) or "none"
    raise UsageError(
        f"kernel '{name}': not installed (installed: {known}) and no directory; give a directory with vmlinuz"
        " and modules/"
    )


def _from_catalog(name: str) -> BenchKernel:
    """A kernel that was fetched or added.

    Raises:
        UsageError: it is of a kind that does not boot under QEMU.
    """
    from lvslab.catalog import catalog
    from lvslab.kernels.qemu import QemuKernel

    kernel = catalog.find(name)
    if not isinstance(kernel, QemuKernel):
        raise UsageError(
            f"kernel '{name}': is no stock kernel; bench takes bzImages, such as debian/trixie:cloud"
        )
    return BenchKernel(name, kernel.modules.release, kernel.image, kernel.modules)


def _first_of_catalog(boot: Path) -> BenchKernel:
    """Any stock kernel that was fetched or added.

    Raises:
        CannotError: there is none.
    """
    from lvslab.catalog import catalog
    from lvslab.kernels.needs import KernelKind

    for entry in catalog.entries():
        if entry.kind == KernelKind.QEMU:
            return _from_catalog(entry.full_name)
    raise CannotError(
        f"{boot}: no kernel image that can be read, with its modules, and none was fetched; run: lvslab"
        " kernels fetch debian/bookworm:cloud"
    )


def _natural(release: str) -> list[tuple[int, str]]:
    """Sorts 6.12 after 6.1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", release)]


def _readable(path: Path) -> bool:
    try:
        with path.open("rb"):
            return True
    except OSError:
        return False
