"""What a student wrote in a lab that has ended, and that is there again when the lab is started
anew: files below /etc, /root and /usr/local of each node, and the director's tables as files.

What lies in memory alone (addresses, routes, sysctls, programs that ran) does not come back.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lvslab.errors import LvslabError
from lvslab.host.scripts import guest_script
from lvslab.kernels import guestfiles

if TYPE_CHECKING:
    from lvslab.lab.lab import Lab

_SINCE = "/run/lvslab-began"
_ARCHIVE = "belongings"
_MOST_BYTES = 8 << 20
"""Of a node's, as text; what is larger is not kept."""


def bring_back(lab: Lab, nodes: Iterable[str], place: Path) -> list[str]:
    """Put what was kept into the nodes of a lab that was just prepared; from now on all that is
    written there is the student's.

    Returns:
        Nodes into which it could not be put: what was kept is damaged.

    Raises:
        GuestError: a node is gone.
    """
    damaged = []
    for name in nodes:
        node = lab.node(name)
        with suppress(FileNotFoundError):
            kept = (place / name).read_text()
            guestfiles.write(node.directory / _ARCHIVE, kept)
        inside = f"{node.inside}/{_ARCHIVE}"
        if node.run(guest_script("lvslab.training", "bring_back.sh", _SINCE, inside)).code:
            damaged.append(name)
        guestfiles.remove(node.directory / _ARCHIVE)
    return damaged


def keep(lab: Lab, nodes: Iterable[str], place: Path) -> list[str]:
    """Keep what was written in the nodes that are on; in place of what was kept before.

    Returns:
        Nodes whose files could not be kept.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    lost = []
    for name in nodes:
        try:
            text = lab.node(name).run(guest_script("lvslab.training", "keep.sh", _SINCE)).out
        except LvslabError:
            lost.append(name)
            continue
        if len(text) > _MOST_BYTES:
            lost.append(name)
        else:
            (place / name).write_text(text)
    return lost


def forget(place: Path) -> None:
    """Keep nothing of a lab that is brought back to its beginning."""
    shutil.rmtree(place, ignore_errors=True)
