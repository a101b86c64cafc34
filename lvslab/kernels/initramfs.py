"""The initramfs of a guest: busybox, the kernel modules that it needs, an init script, the table of its mounts."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from lvslab.errors import CannotError

SHARE = "/mnt"
"""Where a guest sees the host folder that it shares with lvslab."""

_DIRECTORY, _EXECUTABLE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
_CHARACTER = stat.S_IFCHR | 0o600


@dataclass(frozen=True)
class Entry:
    """One member of a cpio archive; `device` is (major, minor) of a device node."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(entries: Iterable[Entry]) -> bytes:
    """A cpio archive in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
        for part in (b"070701" + b"".join(b"%08x" % field for field in fields) + name, entry.data):
            out += part
            out += b"\0" * (-len(out) % 4)
    return bytes(out)


@dataclass(frozen=True)
class ModuleTree:
    """A directory `/…/<release>` of kernel modules with its `modules.dep` (depmod(8))."""

    directory: Path

    @property
    def release(self) -> str:
        return self.directory.name

    def read(self) -> dict[str, tuple[Path, tuple[Path, ...]]]:
        """Module name → (file, files that it depends on, nearest first).

        Raises:
            CannotError: there is no readable modules.dep.
        """
        table = self.directory / "modules.dep"
        try:
            lines = table.read_text().splitlines()
        except OSError as error:
            raise CannotError(f"{table}: {error.strerror}; reinstall the package of this kernel") from error
        tree = {}
        for line in lines:
            path, _, needed = line.partition(":")
            tree[module_name(path)] = (self.directory / path, tuple(self.directory / each for each in needed.split()))
        return tree

    def builtin(self) -> frozenset[str]:
        """Names of the modules that are compiled in."""
        listing = self.directory / "modules.builtin"
        return frozenset(map(module_name, listing.read_text().split())) if listing.exists() else frozenset()


def module_name(path: str) -> str:
    """`kernel/net/ip-vs.ko.xz` → `ip_vs`, as the kernel writes it."""
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")


def missing_modules(tree: ModuleTree, names: Iterable[str]) -> list[str]:
    """Those of `names` that this kernel has neither as a module nor built in."""
    known = tree.read().keys() | tree.builtin()
    return [name for name in names if name not in known]


def module_entries(tree: ModuleTree, names: Sequence[str]) -> list[Entry]:
    """Archive members for the modules, all in one directory, with a modules.dep of just these: modprobe has nothing to scan."""
    modules, files_wanted = tree.read(), dict[Path, tuple[Path, ...]]()
    by_path = dict(modules.values())
    for name in names:
        if name in modules:
            path, needed = modules[name]
            files_wanted[path] = needed
            files_wanted.update((each, by_path[each]) for each in needed)
    base = f"lib/modules/{tree.release}"
    lines = [f"{path.name}: {' '.join(each.name for each in needed)}\n" for path, needed in files_wanted.items()]
    return [
        *(Entry(f"{base}/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()) for path in files_wanted),
        Entry(f"{base}/modules.dep", stat.S_IFREG | 0o644, "".join(lines).encode()),
    ]


def guest_script(name: str) -> bytes:
    """A script of the guest side, as shipped in lvslab/kernels/guest/."""
    return (files("lvslab.kernels") / "guest" / name).read_bytes()


def static_busybox() -> Path:
    """The host's statically linked busybox.

    Raises:
        CannotError: there is none, or it is the dynamic build, which cannot run before the libraries are mounted.
    """
    found = shutil.which("busybox", path="/usr/bin:/bin:/usr/local/bin")
    if not found:
        raise CannotError("busybox: not installed; run: apt-get install busybox-static")
    path = Path(found)
    if b"/ld-linux" in path.read_bytes()[:4096]:
        raise CannotError(f"{path}: dynamically linked; run: apt-get install busybox-static")
    return path


def _fstab(rows: Mapping[str, tuple[str, str, str]]) -> bytes:
    """Mount point → (device, type, options), in order."""
    return "".join(f"{device} {where} {kind} {options} 0 0\n" for where, (device, kind, options) in rows.items()).encode()


def build(tree: ModuleTree, modules: Sequence[str], share: Path, busybox: Path) -> bytes:
    """The whole initramfs of a User-Mode Linux guest.

    Args:
        tree: modules of the kernel that will boot it.
        modules: names to take along, with their dependencies.
        share: host folder that the guest sees read-write as `SHARE`.
        busybox: static busybox on the host.
    """
    before = {
        "/proc": ("proc", "proc", "defaults"),
        "/sys": ("sys", "sysfs", "defaults"),
        "/dev": ("dev", "devtmpfs", "defaults"),
        "/host": ("/", "hostfs", "nosuid,ro"),
        "/rw": ("rw", "tmpfs", "defaults"),
    }
    after = {
        "/root/proc": ("proc", "proc", "defaults"),
        "/root/sys": ("sys", "sysfs", "defaults"),
        "/root/dev": ("dev", "devtmpfs", "defaults"),
        "/root/dev/pts": ("pts", "devpts", "defaults"),
        "/root/run": ("run", "tmpfs", "defaults"),
        "/root/tmp": ("tmp", "tmpfs", "defaults"),
        "/root/root": ("home", "tmpfs", "defaults"),
        f"/root{SHARE}": ("none", "hostfs", str(share)),
        "/root/lib/modules": (f"/host{tree.directory.parent}", "none", "bind"),  # this kernel's, for modprobe inside
    }
    directories = ("bin", "dev", "etc", "host", "lib", "lib/modules", f"lib/modules/{tree.release}", "proc", "root", "rw", "sys")
    return cpio(
        [
            *(Entry(name, _DIRECTORY) for name in directories),
            Entry("dev/console", _CHARACTER, device=(5, 1)),
            Entry("bin/busybox", _EXECUTABLE, busybox.read_bytes()),
            Entry("init", _EXECUTABLE, guest_script("init.sh")),
            Entry("etc/fstab", stat.S_IFREG | 0o644, _fstab(before)),
            Entry("etc/fstab.root", stat.S_IFREG | 0o644, _fstab(after)),
            *module_entries(tree, modules),
        ]
    )
