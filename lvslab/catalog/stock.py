"""A stock kernel in the shape of an entry: its image, its configuration, and of its modules those
that a director can use.

A distribution's generic kernel has 390 MB of modules (Debian's 6.1), nine tenths of them drivers of
hardware that no guest has. Kept are the network stack and what a guest of QEMU needs, with
everything that these depend on.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lvslab.errors import CannotError
from lvslab.host.distribution import advice

_DEPMOD_SECONDS = 120.0

_KEPT = (
    "net/",
    "crypto/",
    "lib/",
    "arch/x86/crypto/",
    "fs/9p/",
    "fs/fuse/",
    "fs/overlayfs/",
    "fs/netfs/",
    "fs/squashfs/",
    "fs/isofs/",
    "fs/ext4/",
    "drivers/virtio/",
    "drivers/block/virtio_blk",
    "drivers/block/loop",
    "drivers/char/virtio_console",
    "drivers/char/hw_random/virtio",
    "drivers/scsi/virtio_scsi",
    "drivers/net/bonding/",
    "drivers/net/macvlan",
    "drivers/net/team/",
    "drivers/net/vxlan",
    "drivers/net/wireguard/",
    "drivers/net/ethernet/intel/e1000",
)
"""Beginnings of paths below `kernel/`; besides them the network drivers that stand directly in
drivers/net (veth, dummy, tun, …).
"""

_NO_HARDWARE = (
    "net/bluetooth/",
    "net/mac80211/",
    "net/wireless/",
    "net/nfc/",
    "net/can/",
    "net/ieee802154/",
    "net/mac802154/",
)
"""Of the network stack what only hardware brings to life."""


def wanted(path: str) -> bool:
    """Whether a module, by its path in the tree, is kept for its own sake."""
    below = path.removeprefix("kernel/")
    if below.startswith(_NO_HARDWARE):
        return False
    return (
        below.startswith(_KEPT)
        or re.fullmatch(r"drivers/net/[^/]+", below) is not None
        or not path.startswith("kernel/")
    )


def closure(dependencies: Mapping[str, Iterable[str]], keep: Callable[[str], bool]) -> set[str]:
    """The modules to keep, and all that they depend on; `dependencies` as in modules.dep, which
    names them all, not the next only.
    """
    chosen = {path for path in dependencies if keep(path)}
    return chosen | {each for path in chosen for each in dependencies[path]}


def trim(tree: Path) -> int:
    """Delete the modules of a tree that no guest can use, and write its tables anew.

    Returns:
        How many were deleted.

    Raises:
        CannotError: depmod fails, or is not there.
    """
    depmod(tree)
    table = dict(
        line.split(":", 1) for line in (tree / "modules.dep").read_text().splitlines() if ":" in line
    )
    kept = closure({path: needed.split() for path, needed in table.items()}, wanted)
    for path in table.keys() - kept:
        (tree / path).unlink()
    for directory in sorted(
        (each for each in tree.rglob("*") if each.is_dir() and not each.is_symlink()), reverse=True
    ):
        if not any(directory.iterdir()):
            directory.rmdir()
    depmod(tree)
    return len(table) - len(kept)


def depmod(tree: Path) -> None:
    """Write the tables of a tree `…/RELEASE` (depmod(8)), such as modules.dep.

    depmod knows only trees at BASE/lib/modules/RELEASE: it is shown one by a symbolic link beside
    the tree.

    Raises:
        CannotError: it fails, or is not there.
    """
    program = shutil.which("depmod") or shutil.which("depmod", path="/usr/sbin:/sbin")
    if not program:
        raise CannotError(f"depmod: not installed; {advice('kmod')}")
    base = tree.parent / ".depmod"
    (base / "lib" / "modules").mkdir(parents=True)
    (base / "lib" / "modules" / tree.name).symlink_to(tree.resolve())
    try:
        done = subprocess.run(
            [program, "-b", str(base), tree.name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEPMOD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotError(f"depmod: not done after {_DEPMOD_SECONDS:g} s with {tree}") from None
    finally:
        shutil.rmtree(base)
    if done.returncode != 0 or not (tree / "modules.dep").is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotError(f"depmod: cannot read {tree}: {said[-1] if said else 'no output'}")
