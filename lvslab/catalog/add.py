"""Adds a kernel that the user has: a User-Mode Linux program or a bzImage, with its modules. It is
copied, booted once, and only then there.
"""

from __future__ import annotations

import shutil
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
from lvslab.kernels.kinds import KINDS, recognise
from lvslab.kernels.machine import Kernel


@dataclass(frozen=True)
class Addition:
    """A kernel to add.

    Attributes:
        program: the kernel's file, such as a User-Mode Linux program or a bzImage.
        kind: what it is.
        modules: its tree `…/RELEASE`.
        name: in the catalog.
        config: its configuration, or None where none lies beside it.
    """

    program: Path
    kind: type[Kernel]
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
    for name_beside in kind.companions:
        if not program.with_name(name_beside).is_file():
            raise UsageError(
                f"{program}: a {kind.title} needs {name_beside} beside it, which was built with it"
            )
    says = kind.release_of(program)
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
        program = new / addition.kind.file_names[0]
        shutil.copy2(addition.program, program)
        if addition.config:
            shutil.copy2(addition.config, new / "config")
        for companion in addition.kind.companions:
            shutil.copy2(addition.program.with_name(companion), new)
        program.chmod(0o755)  # of some kinds it is a program
        if not addition.kind.is_stock:
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


def _program(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"{path}: not there")
    *names, last = [name for kind in KINDS.values() for name in kind.file_names]
    found = [path / name for name in (*names, last) if (path / name).is_file()]
    if not found:
        raise UsageError(f"{path}: holds no kernel; it must be called {', '.join(names)} or {last}")
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
