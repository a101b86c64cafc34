"""The kernel with all faults: Debian's own User-Mode Linux with modules of IPVS that are built
anew.

Its kernel is not built: modules fit that are of the same source, configuration and compiler, since
it neither signs modules nor knows versions of symbols.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lvslab.catalog import add, stock, tree
from lvslab.catalog.build import last_lines, make_command, require_tools
from lvslab.catalog.catalog import CatalogEntry
from lvslab.catalog.debian import sourcecode
from lvslab.errors import CannotError, LabError
from lvslab.events import Listener
from lvslab.kernels.uml import UmlKernel
from tests.slow.faults.fault import SWITCH, Fault, edited

_SUITE = "bookworm"
_IPVS = "net/netfilter/ipvs"
_HEADER, _CORE = "include/net/ip_vs.h", f"{_IPVS}/ip_vs_core.c"
_MATCH = "xt_ipvs.c"
"""Stands one folder above the others, and is built among them."""
_PARAMETER = f"\nint {SWITCH};\nEXPORT_SYMBOL_GPL({SWITCH});\nmodule_param({SWITCH}, int, 0644);\n"
_GUARD = "#define _NET_IP_VS_H\n"


def kernel_with(faults: Sequence[Fault], root: Path, tell: Listener) -> CatalogEntry:
    """Build it, boot it once, and put it into the catalog; downloads and objects are kept.

    Args:
        root: a folder for all of it.

    Raises:
        CannotError: a tool, the source or the kernel is missing, or they are not of one version.
        LabError: the compiler failed.
        ValueError: a fault has no place in the source.
    """
    require_tools()
    base = UmlKernel.installed()
    source = root / "source"
    pristine = root / "pristine"
    if not pristine.is_dir():
        _take_over(source, pristine, root, tell)
    version = tree.makefile_version(source)
    if version != base.modules.release:
        raise CannotError(
            f"the source is of {version}, the installed kernel of {base.modules.release}; take both new"
        )
    _write(source, pristine, faults)
    _compile(source, base)
    entry = root / "entry"
    shutil.rmtree(entry, ignore_errors=True)
    modules = entry / "modules" / base.modules.release
    shutil.copytree(base.modules.directory, modules, symlinks=True)
    shutil.copy2(base.binary, entry / "linux")
    for built in (source / _IPVS).glob("*.ko"):
        old = next(modules.rglob(built.name), None)
        place = old.parent if old else modules / "kernel" / _IPVS
        subprocess.run(["strip", "--strip-debug", "-o", str(place / built.name), str(built)], check=True)
    stock.depmod(modules)
    return add.add(add.prepare(entry, "faults"), tell=tell)


def _take_over(source: Path, pristine: Path, root: Path, tell: Listener) -> None:
    archive = sourcecode.archive(_SUITE, root, tell)
    shutil.rmtree(source, ignore_errors=True)
    tree.take_over(tree.recognise(archive), source, tell)
    kept = root / "pristine.new"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(source / _IPVS, kept)
    for file in (source / _HEADER, source / "net/netfilter" / _MATCH):
        shutil.copy2(file, kept)
    kept.rename(pristine)


def _write(source: Path, pristine: Path, faults: Sequence[Fault]) -> None:
    """The sources with all faults; files that do not change keep their time, so make passes over
    them.
    """
    texts: Mapping[str, str] = {
        path.name: path.read_text() for path in pristine.iterdir() if path.suffix in (".c", ".h")
    }
    changed = edited(texts, faults)
    changed["ip_vs_core.c"] += _PARAMETER
    header = texts["ip_vs.h"].replace(_GUARD, f"{_GUARD}extern int {SWITCH};\n")
    makefile = (pristine / "Makefile").read_text() + f"\nobj-m += {Path(_MATCH).with_suffix('.o')}\n"
    wanted = {source / _IPVS / name: text for name, text in changed.items() if name != "ip_vs.h"}
    wanted |= {source / _HEADER: header, source / _IPVS / "Makefile": makefile}
    for path, text in wanted.items():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _compile(source: Path, base: UmlKernel) -> None:
    shown = subprocess.run(
        [str(base.binary), "--showconfig"], capture_output=True, text=True, check=True
    ).stdout
    config = shown.replace("# CONFIG_IP_VS_TWOS is not set", "CONFIG_IP_VS_TWOS=m")
    config = config.replace("CONFIG_LOCALVERSION_AUTO=y", "# CONFIG_LOCALVERSION_AUTO is not set")
    stamp = source / ".config.asked"
    if not stamp.exists() or stamp.read_text() != config:
        (source / ".config").write_text(config)
        _make(source, "olddefconfig")
        _make(source, "modules_prepare")
        stamp.write_text(config)
    # The symbols of the kernel itself are not known here; modules find them when they are loaded.
    _make(source, f"M={_IPVS}", "KBUILD_MODPOST_WARN=1", "modules")


def _make(source: Path, *targets: str) -> None:
    command = make_command(*targets, jobs=2, ccache=shutil.which("ccache") is not None)
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "KCONFIG_NOTIMESTAMP": "1"}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = last_lines((done.stdout + done.stderr).splitlines())
        raise LabError("\n    ".join([f"make {' '.join(targets)} failed in {source}:", *lines]))
