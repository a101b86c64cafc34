"""Gets the packages of a kernel of Debian's and lays their files out; their scripts are not run."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lvslab.catalog import stock
from lvslab.catalog.debian import apt
from lvslab.catalog.debian.apt import PrivateApt
from lvslab.catalog.debian.apt_output import SuiteError
from lvslab.catalog.debian.elf import Elf
from lvslab.catalog.debian.mirror import Mirrors
from lvslab.catalog.debian.names import Flavour, Spec
from lvslab.catalog.source import Delivery, LaidOut
from lvslab.errors import CannotError
from lvslab.events import Event, Listener
from lvslab.kernels import bzimage
from lvslab.kernels.cache import place

LIBC_PACKAGE = "libc6"

NEEDED_MIB = {Flavour.UML: 450, Flavour.CLOUD: 450, Flavour.AMD64: 900}
"""Room that a fetch takes at most: lists of packages, the packages, their files (of 6.1: 180 MiB,
130 MiB, 410 MiB).
"""

_STARTS_SECONDS = 20.0


class DebianDelivery(Delivery):
    """A kernel in a suite, with that suite's packages at hand."""

    def __init__(self, wanted: Spec, work: Path, cache: Path, tell: Listener) -> None:
        """Look for it (arguments and errors as for `KernelSource.find`)."""
        self._wanted, self._work, self._cache, self._tell = wanted, work, cache, tell
        self._packages = Mirrors(work, tell).serving(wanted.suite)
        self.version = self._find_version()

    def lay_out(self, entry: Path) -> LaidOut:
        """See `Delivery.lay_out`; the copyright file comes along."""
        if self._wanted.flavour is Flavour.UML:
            return self._lay_out_uml(entry)
        return self._lay_out_stock(entry)

    def _find_version(self) -> str:
        package, suite = self._wanted.flavour.package, self._wanted.suite
        offered = self._packages.versions(package, suite)
        if not offered:
            raise SuiteError(
                f"{self._wanted}: {suite} has no package {package} for this machine; take another suite"
            )
        if self._wanted.version and self._wanted.version not in offered:
            raise SuiteError(f"{self._wanted}: no such version; {suite} has: {', '.join(offered)}")
        return self._wanted.version or apt.newest_version(offered)

    def _unpack(self, package: Path, files: Path) -> None:
        self._tell(Event("", "fetch", f"unpacking {package.name}"))
        apt.unpack(package, files)
        package.unlink()

    # -- stock kernels -----------------------------------------------------------------------------

    def _lay_out_stock(self, new: Path) -> LaidOut:
        """The image, its configuration, and of its modules those that a director can use."""
        files = self._work / "files"
        packages = stock_packages(self._packages, self._wanted.flavour.package, self.version)
        if not packages:
            raise CannotError(
                f"{self._wanted.flavour.package} {self.version}: names no kernel; it is not known to lvslab"
            )
        for package, exact in packages.items():
            self._unpack(self._packages.download(package, exact), files)
        image, tree = _image_and_modules(files, ", ".join(packages))
        release = tree.name
        image.rename(new / "vmlinuz")
        (new / "modules").mkdir()
        tree.rename(new / "modules" / release)
        for config in (*files.glob("boot/config-*"), *files.glob("usr/lib/modules/*/config")):
            config.rename(new / "config")
        for copyright_ in list(files.glob("usr/share/doc/*/copyright"))[:1]:
            copyright_.rename(new / "copyright")
        shutil.rmtree(files)
        left_out = stock.trim(new / "modules" / release)
        self._tell(
            Event("", "fetch", f"{release}: left out {left_out} modules of hardware that a guest cannot have")
        )
        return LaidOut(" ".join(f"{package}={exact}" for package, exact in packages.items()))

    # -- User-Mode Linux ---------------------------------------------------------------------------

    def _lay_out_uml(self, new: Path) -> LaidOut:
        """The program and its modules, and the C library that it needs."""
        package, files = self._wanted.flavour.package, self._work / "files"
        archive = self._packages.download(package, self.version)
        self._unpack(archive, files)
        for path, name in (("usr/bin/linux.uml", "linux.uml"), ("usr/lib/uml/modules", "modules")):
            if not (files / path).exists():
                raise CannotError(
                    f"{archive.name}: has no /{path}; this version of the package is not known to lvslab"
                )
            (files / path).rename(new / name)
        for copyright_ in files.glob("usr/share/doc/*/copyright"):
            copyright_.rename(new / "copyright")
        shutil.rmtree(files)
        return LaidOut(f"{package}={self.version}", self._give_libc(new))

    def _give_libc(self, new: Path) -> Path | None:
        """Make the kernel use its own suite's C library where this machine's is too old for it;
        returns that one's loader.
        """
        binary = new / "linux.uml"
        if why_not_starting(binary) is None:
            return None
        base = self._wanted.suite.split("-")[0]
        versions = self._packages.versions
        offered = versions(LIBC_PACKAGE, base) or versions(LIBC_PACKAGE, self._wanted.suite)
        if not offered:
            raise CannotError(f"{self._wanted}: needs a newer C library, and {base} has no {LIBC_PACKAGE}")
        version, program = apt.newest_version(offered), Elf(binary)
        home = self._cache / "loaders" / version
        loader = home / Path(program.loader).name
        if not (loader.is_file() and all((home / name).is_file() for name in program.needed)):
            self._get_libc(version, (loader.name, "libc.so.6", *program.needed), home)
        program.redirect(loader)
        for library in home.iterdir():
            if library != loader:
                (new / library.name).symlink_to(library)
        problem = why_not_starting(binary)
        if problem:
            raise CannotError(
                f"{self._wanted}: does not start, even with {LIBC_PACKAGE} {version}: {problem}"
            )
        return loader

    def _get_libc(self, version: str, names: Sequence[str], home: Path) -> None:
        """Put a C library's loader and libraries where all kernels that need this version find
        them.
        """
        files, libraries = self._work / "libc", self._work / "loader"
        apt.unpack(self._packages.download(LIBC_PACKAGE, version), files)
        libraries.mkdir()
        for name in dict.fromkeys(names):
            for path in files.rglob(name):
                if path.is_file() and not path.is_symlink():
                    shutil.copy2(path, libraries / name)
                    break
        place(libraries, home)


def _image_and_modules(files: Path, packages: str) -> tuple[Path, Path]:
    """The image and its tree of modules among unpacked files, wherever a suite's packages put them.

    Raises:
        CannotError: they are not there, or do not belong together.
    """
    images = sorted(files.glob("boot/vmlinuz-*")) or sorted(files.glob("usr/lib/modules/*/vmlinuz"))
    trees = [
        path.parent
        for base in ("lib", "usr/lib")
        for path in sorted(files.glob(f"{base}/modules/*/kernel"))
        if path.is_dir()
    ]
    if len(images) != 1 or len(trees) != 1:
        raise CannotError(f"{packages}: no image with its modules; these packages are not known to lvslab")
    says = bzimage.release_of(images[0])
    if says != trees[0].name:
        raise CannotError(
            f"{packages}: the image is {says or 'no bzImage'}, the modules are for {trees[0].name}"
        )
    return images[0], trees[0]


def stock_packages(source: PrivateApt, meta: str, version: str) -> dict[str, str]:
    """The packages with the files of a stock kernel, each with its version.

    The suite's `linux-image-amd64` depends on the newest `linux-image-RELEASE`, which in newer
    suites has its image and its modules in packages of their own, `linux-binary-RELEASE` and
    `linux-modules-RELEASE`.
    """
    images = {
        name: exact
        for name, exact in source.depends(meta, version).items()
        if re.match(r"linux-image-\d", name)
    }
    parts = [
        {
            name: exact
            for name, exact in source.depends(image, exact).items()
            if re.match(r"linux-(binary|modules|base)-\d", name)
        }
        for image, exact in images.items()
    ]
    return {**images, **{name: exact for part in parts for name, exact in part.items()}}


def why_not_starting(binary: Path) -> str | None:
    """Why a User-Mode Linux program cannot even print its version, or None."""
    try:
        done = subprocess.run(
            [binary, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_STARTS_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = (done.stderr + done.stdout).strip().splitlines()
    return said[0] if said else f"ended with {done.returncode}"
