"""Adds a kernel that the user has: a User-Mode Linux program or a bzImage, with its modules. It is
copied, booted once, and only then there.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.catalog import stock, store
from lvslab.catalog.catalog import CatalogEntry, entry_directory
from lvslab.catalog.names import LocalName
from lvslab.catalog.store import Candidate
from lvslab.errors import UsageError
from lvslab.events import Event, Listener, nobody
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.needs import KernelKind

_ELF, _X86_64, _EXECUTABLE = b"\x7fELF", 62, (2, 3)
_UML_MARK = b"User Mode Linux"
"""Stands in every User-Mode Linux program: arch/um/kernel/um_arch.c prints it."""

_MACHINES = {
    3: "32-bit x86",
    8: "MIPS",
    20: "PowerPC",
    21: "PowerPC",
    22: "s390",
    40: "32-bit ARM",
    183: "ARM",
    243: "RISC-V",
}
_ARM64_MAGIC, _RISCV_MAGIC = b"ARM\x64", b"RSC\x05"
_MAGIC_AT = 0x38
_NAMES = ("linux.uml", "linux", "vmlinuz", "bzImage")
"""What the kernel in a directory may be called."""


@dataclass(frozen=True)
class Addition:
    """A kernel to add.

    Attributes:
        program: the User-Mode Linux program or the bzImage.
        kind: which of the two.
        modules: its tree `…/RELEASE`.
        name: in the catalog.
        config: its configuration, or None where none lies beside it.
    """

    program: Path
    kind: KernelKind
    modules: Path
    name: LocalName
    config: Path | None

    @property
    def needed_mib(self) -> int:
        """Room that it takes while it is added."""
        files = [path for path in self.modules.rglob("*") if path.is_file() and not path.is_symlink()]
        return (sum(path.stat().st_size for path in [*files, self.program]) >> 20) + 50


def prepare(path: Path, name: str | None = None, modules: Path | None = None) -> Addition:
    """Look at what the user gave; nothing is started or written.

    Args:
        path: a User-Mode Linux program, a bzImage, or a directory with either and
            `modules/RELEASE`.
        name: by default the release.
        modules: a tree `…/RELEASE`, or a directory with one such tree; by default what lies where
            it belongs.

    Raises:
        UsageError: it is something else, or its modules are missing or of another kernel.
    """
    program = _program(path)
    kind = recognise(program)
    says = stock.image_release(program) if kind is KernelKind.QEMU else None
    tree = _modules(program, modules, says)
    if says and says != tree.name:
        raise UsageError(
            f"{program}: says that it is {says}, but its modules are for {tree.name}; give those of {says}:"
            " --modules DIR"
        )
    beside = [tree / "config", program.with_name("config"), program.with_name(f"config-{tree.name}")]
    config = next((each for each in beside if each.is_file()), None)
    return Addition(program, kind, tree, LocalName.parse(name if name is not None else tree.name), config)


def add(addition: Addition, cache: Path | None = None, tell: Listener = nobody) -> CatalogEntry:
    """Copy a kernel into the catalog as `local/NAME`, once it has booted; one of that name is
    replaced.

    Args:
        cache: by default `cache.cache_directory()`.
        tell: takes progress.

    Raises:
        CannotError: no room, or something that the trial boot needs is missing.
        GuestError: it does not boot, or is another release than its modules.
    """
    cache = cache or cache_directory()
    with store.opened(cache, addition.needed_mib, tell) as work:
        new = work / "entry"
        release = addition.modules.name
        target = new / "modules" / release
        tell(Event("", "fetch", f"{addition.name}: copying {addition.program} and {addition.modules}"))
        shutil.copytree(addition.modules, target, symlinks=True, ignore=_links)
        program = new / ("linux.uml" if addition.kind is KernelKind.UML else "vmlinuz")
        shutil.copy2(addition.program, program)
        if addition.config:
            shutil.copy2(addition.config, new / "config")
        if addition.kind is KernelKind.UML:
            program.chmod(0o755)
            stock.depmod(target)
        else:
            left_out = stock.trim(target)
            tell(
                Event(
                    "",
                    "fetch",
                    f"{release}: left out {left_out} modules of hardware that a guest cannot have",
                )
            )
        place = entry_directory(cache, addition.name)
        if place.exists():
            tell(Event("", "fetch", f"{addition.name}: there is one already; it will be replaced"))
        origin = f"added from {addition.program.resolve()}"
        return store.admit(Candidate(str(addition.name), "", new, place, origin), cache, tell)


def recognise(program: Path) -> KernelKind:
    """What kind of kernel a file is.

    Raises:
        UsageError: none that lvslab can boot; says what it seems to be.
    """
    try:
        with program.open("rb") as file:
            head = file.read(0x400)
    except OSError as error:
        raise UsageError(f"{program}: {error.strerror}") from error
    if head.startswith(_ELF) and len(head) >= 20:
        _require_uml(program, head)
        return KernelKind.UML
    if stock.image_release(program):
        return KernelKind.QEMU
    if head[_MAGIC_AT : _MAGIC_AT + 4] in (_ARM64_MAGIC, _RISCV_MAGIC):
        machine = "ARM" if head[_MAGIC_AT : _MAGIC_AT + 4] == _ARM64_MAGIC else "RISC-V"
        raise UsageError(f"{program}: a kernel for {machine}; lvslab boots x86-64 only")
    if head[0x202:0x206] == b"HdrS":
        raise UsageError(
            f"{program}: a bzImage that names no release; give the whole file arch/x86/boot/bzImage"
        )
    raise UsageError(
        f"{program}: no kernel; give a User-Mode Linux program (linux, linux.uml) or a bzImage (vmlinuz)"
    )


def _require_uml(program: Path, head: bytes) -> None:
    kind, machine = struct.unpack_from("<HH", head, 16)
    if machine != _X86_64:
        raise UsageError(
            f"{program}: a program for {_MACHINES.get(machine, f'machine {machine}')}; lvslab boots x86-64"
            " only"
        )
    if kind not in _EXECUTABLE:
        raise UsageError(
            f"{program}: an object file, no program; give the program linux that `make ARCH=um` links"
        )
    if _UML_MARK not in program.read_bytes():
        raise UsageError(
            f"{program}: a program, but not User-Mode Linux; of another kernel give the image"
            " arch/x86/boot/bzImage, not vmlinux"
        )


def _program(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"{path}: not there")
    found = [path / each for each in _NAMES if (path / each).is_file()]
    if not found:
        raise UsageError(
            f"{path}: holds no kernel; it must be called {', '.join(_NAMES[:-1])} or {_NAMES[-1]}"
        )
    if len(found) > 1:
        raise UsageError(
            f"{path}: holds several kernels: {', '.join(each.name for each in found)}; give one of these"
            " files"
        )
    return found[0]


def _modules(program: Path, given: Path | None, says: str | None) -> Path:
    if given is not None:
        if not given.is_dir():
            raise UsageError(f"{given}: no directory; --modules takes a tree such as /lib/modules/RELEASE")
        return _only([given] if is_tree(given) else _trees(given), given, says)
    bases = [program.parent / "modules", program.parent / "lib" / "modules"]
    trees = [tree for base in bases for tree in _trees(base)]
    if not trees and says:
        trees = [tree for tree in [Path("/lib/modules") / says] if is_tree(tree)]
    return _only(trees, program.parent, says)


def _only(trees: Sequence[Path], where: Path, says: str | None) -> Path:
    fitting = [tree for tree in trees if tree.name == says] or list(trees)
    if not fitting:
        raise UsageError(f"{where}: no kernel modules modules/RELEASE; give their directory: --modules DIR")
    if len(fitting) > 1:
        raise UsageError(
            f"{where}: several trees of modules: {', '.join(each.name for each in fitting)}; give one:"
            " --modules DIR"
        )
    return fitting[0].resolve()


def _trees(base: Path) -> list[Path]:
    return sorted(each for each in base.iterdir() if is_tree(each)) if base.is_dir() else []


def is_tree(directory: Path) -> bool:
    """Whether a directory is what `make modules_install` makes; a kernel with everything built in
    has the listing only.
    """
    return directory.is_dir() and any(
        (directory / each).exists() for each in ("kernel", "modules.dep", "modules.builtin")
    )


def _links(directory: str, entries: list[str]) -> set[str]:
    """Names that are not copied: build and source point at the tree that the kernel was
    built from.
    """
    return {each for each in entries if each in ("build", "source") and (Path(directory) / each).is_symlink()}
