"""The initramfs of a guest: busybox, the kernel modules that it needs, an init script, the table of
its mounts.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import CannotError
from lvslab.host import scripts
from lvslab.host.distribution import advice

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
    """A cpio archive in the "newc" format
    (Documentation/driver-api/early-userspace/buffer-format.rst).
    """
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
            tree[module_name(path)] = (
                self.directory / path,
                tuple(self.directory / each for each in needed.split()),
            )
        return tree

    def loaded_before(self, name: str) -> list[str]:
        """Modules that must be loaded before `name` although it uses none of their symbols
        (modprobe.d(5), softdep … pre).

        Such a need may be an alias that several modules have; of these the one that runs on every
        processor is taken.
        """
        wanted = [
            words[2:] for words in self._words("modules.softdep") if words[:3] == ["softdep", name, "pre:"]
        ]
        names = [each for words in wanted for each in words[1:] if each != "post:"]
        if not names:
            return []
        tree = self.read()
        found = []
        for each in names:
            having = [module_name(each)] if module_name(each) in tree else []
            having += [words[2] for words in self._words("modules.alias") if words[:2] == ["alias", each]]
            having = [module for module in having if module in tree]
            having.sort(key=lambda module: "arch" in tree[module][0].relative_to(self.directory).parts)
            found += having[:1]
        return found

    def _words(self, table: str) -> list[list[str]]:
        path = self.directory / table
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

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


_IN_PLACE_OF = {
    "iptable_filter": ("nft_compat",),
    "iptable_mangle": ("nft_compat",),
    "iptable_raw": ("nft_compat",),
    "iptable_nat": ("nft_compat", "nft_chain_nat"),
}
"""Of a legacy table of iptables: what iptables-nft(8) needs in a kernel without it, as newer ones
are built (CONFIG_NETFILTER_XTABLES_LEGACY, net/netfilter/Kconfig).
"""


def fitting(tree: ModuleTree, names: Iterable[str]) -> list[str]:
    """Modules by name, each once; in place of a legacy table that this kernel does not have, what
    iptables-nft needs.
    """
    names = list(names)
    lacking = set(missing_modules(tree, [name for name in names if name in _IN_PLACE_OF]))
    return list(
        dict.fromkeys(each for name in names for each in (_IN_PLACE_OF[name] if name in lacking else (name,)))
    )


def module_entries(tree: ModuleTree, names: Sequence[str]) -> list[Entry]:
    """Archive members for the modules, all in one directory, with a modules.dep of just these:
    modprobe has nothing to scan.
    """
    modules, files_wanted = tree.read(), dict[Path, tuple[Path, ...]]()
    by_path = dict(modules.values())

    def take(path: Path) -> None:
        if path in files_wanted:
            return
        # all of them, also those of those: busybox looks no further than one line
        needed = by_path[path]
        for each in (path, *needed):
            for before in tree.loaded_before(module_name(each.name)):
                needed = (*needed, modules[before][0], *modules[before][1])
        # Loaded from the last to the first, so of a file that is named twice the last place counts.
        files_wanted[path] = tuple(reversed(dict.fromkeys(reversed(needed))))
        for each in needed:
            take(each)

    for name in names:
        if name in modules:
            take(modules[name][0])
    base = f"lib/modules/{tree.release}"
    lines = [
        f"{plain_name(path)}: {' '.join(map(plain_name, needed))}\n" for path, needed in files_wanted.items()
    ]
    return [
        *(
            Entry(f"{base}/{plain_name(path)}", stat.S_IFREG | 0o644, module_code(path))
            for path in files_wanted
        ),
        Entry(f"{base}/modules.dep", stat.S_IFREG | 0o644, "".join(lines).encode()),
    ]


def plain_name(path: Path) -> str:
    """`ip_vs.ko.xz` → `ip_vs.ko`."""
    return path.name.partition(".ko")[0] + ".ko"


_SIGNATURE_MARK = b"~Module signature appended~\n"
_SIGNATURE_TAIL = 12
"""Bytes of struct module_signature, which ends with the length of what is before it
(include/linux/module_signature.h).
"""


def module_code(path: Path) -> bytes:
    """A module as the kernel loads it.

    Those of newer distributions are compressed (CONFIG_MODULE_COMPRESS_*), which busybox does not
    undo. A signature is left out: checking it takes an emulated processor longer than loading the
    module, and nobody asks for it without secure boot.

    Raises:
        CannotError: nothing here unpacks it, or it is damaged.
    """
    data = path.read_bytes()
    try:
        match path.suffix:
            case ".xz":
                data = lzma.decompress(data)
            case ".gz":
                data = gzip.decompress(data)
            case ".zst":
                data = subprocess.run(
                    ["zstd", "-d", "-c", "-q"], input=data, capture_output=True, check=True
                ).stdout
    except FileNotFoundError as error:
        raise CannotError(f"{path}: compressed with zstd; {advice('zstd')}") from error
    except (OSError, EOFError, lzma.LZMAError, subprocess.CalledProcessError) as error:
        raise CannotError(f"{path}: damaged: {error}; reinstall the package of this kernel") from error
    if not data.endswith(_SIGNATURE_MARK):
        return data
    before = len(data) - len(_SIGNATURE_MARK) - _SIGNATURE_TAIL
    return data[: before - int.from_bytes(data[before + 8 : before + 12], "big")]


def guest_script(name: str) -> bytes:
    """A script of the guest side, as shipped in lvslab/kernels/guest/."""
    return scripts.guest_file("lvslab.kernels", name).encode()


def static_busybox() -> Path:
    """The host's statically linked busybox.

    Raises:
        CannotError: there is none, or it is the dynamic build, which cannot run before the
            libraries are mounted.
    """
    found = shutil.which("busybox", path="/usr/bin:/bin:/usr/local/bin")
    if not found:
        raise CannotError(f"busybox: not installed; {advice('busybox-static')}")
    path = Path(found)
    if b"/ld-linux" in path.read_bytes()[:4096]:
        raise CannotError(f"{path}: dynamically linked; {advice('busybox-static')}")
    return path


def _fstab(rows: Mapping[str, tuple[str, str, str]]) -> bytes:
    """Mount point → (device, type, options), in order."""
    return "".join(
        f"{device} {where} {kind} {options} 0 0\n" for where, (device, kind, options) in rows.items()
    ).encode()


@dataclass(frozen=True)
class Host:
    """How a guest sees the host's files: how it mounts them, each as (device, type, options).

    Attributes:
        root: all of them, read-only.
        share: the folder that it shares with lvslab, writable.
        drivers: modules that must be there before.
    """

    root: tuple[str, str, str]
    share: tuple[str, str, str]
    drivers: tuple[str, ...] = ()


def hostfs(share: Path) -> Host:
    """As a User-Mode Linux guest does (Documentation/filesystems/hostfs.rst)."""
    return Host(("/", "hostfs", "nosuid,ro"), ("none", "hostfs", str(share)))


P9_ROOT, P9_SHARE = "lvslab-root", "lvslab-share"
"""Tags of the folders that QEMU serves."""


def p9() -> Host:
    """By 9P over virtio (Documentation/filesystems/9p.rst). What the host writes into the share
    while the guest runs must be seen at once, so nothing of it is cached.
    """
    common = "trans=virtio,version=9p2000.L,nosuid"
    return Host(
        (P9_ROOT, "9p", f"{common},ro,cache=loose,msize=524288"),
        (P9_SHARE, "9p", f"{common},cache=none,msize=131072"),
        ("virtio_pci", "virtio_console", "9pnet_virtio", "9p"),
    )


def build(tree: ModuleTree, modules: Sequence[str], host: Host, busybox: Path) -> bytes:
    """The whole initramfs of a guest.

    Args:
        tree: modules of the kernel that will boot it.
        modules: names to take along, with their dependencies.
        host: how it sees the host's files; the share becomes `SHARE`.
        busybox: static busybox on the host.
    """
    devices = {
        "/proc": ("proc", "proc", "defaults"),
        "/sys": ("sys", "sysfs", "defaults"),
        "/dev": ("dev", "devtmpfs", "defaults"),
    }
    before = {**({} if host.drivers else devices), "/host": host.root, "/rw": ("rw", "tmpfs", "defaults")}
    after = {
        "/root/proc": ("proc", "proc", "defaults"),
        "/root/sys": ("sys", "sysfs", "defaults"),
        "/root/dev": ("dev", "devtmpfs", "defaults"),
        "/root/dev/pts": ("pts", "devpts", "defaults"),
        "/root/run": ("run", "tmpfs", "defaults"),
        "/root/tmp": ("tmp", "tmpfs", "defaults"),
        "/root/root": ("home", "tmpfs", "defaults"),
        f"/root{SHARE}": host.share,
        "/root/lib/modules": (
            f"/host{tree.directory.parent}",
            "none",
            "bind",
        ),  # this kernel's, for modprobe inside
    }
    directories = (
        "bin",
        "dev",
        "etc",
        "host",
        "lib",
        "lib/modules",
        f"lib/modules/{tree.release}",
        "proc",
        "root",
        "rw",
        "sys",
    )
    return cpio(
        [
            *(Entry(name, _DIRECTORY) for name in directories),
            Entry("dev/console", _CHARACTER, device=(5, 1)),
            Entry("bin/busybox", _EXECUTABLE, busybox.read_bytes()),
            Entry("init", _EXECUTABLE, guest_script("init.sh")),
            Entry("etc/fstab", stat.S_IFREG | 0o644, _fstab(before)),
            Entry("etc/fstab.devices", stat.S_IFREG | 0o644, _fstab(devices)),
            Entry("etc/fstab.root", stat.S_IFREG | 0o644, _fstab(after)),
            *module_entries(tree, (*host.drivers, *modules)),
        ]
    )
