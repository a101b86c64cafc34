"""The kernel parameters that a user's files set, in the lab: many of `sysctl -a` are of other links
or kernels, or cannot be set at all, and none of that stops a rehearsal.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from lvslab.host.scripts import guest_file
from lvslab.lab.nodes import LabMachine

_NAMED = 4
"""So many that could not be set are named."""


def file_of(key: str) -> str:
    """The file of a parameter whose name has dots, also in the name of a link (eth0.7)."""
    parts = key.split(".")
    if parts[2:3] in (["conf"], ["neigh"]) and len(parts) > 5:
        parts[3:-1] = [".".join(parts[3:-1])]
    return "/proc/sys/" + "/".join(parts)


def set_sysctls(node: LabMachine, values: Mapping[str, str]) -> str:
    """Set them; returns a sentence about those that are not here or were refused, "" where all are
    set.
    """
    if not values:
        return ""
    lines = "".join(f"{file_of(key)} {value}\n" for key, value in values.items())
    script = f"bash -c {shlex.quote(guest_file('lvslab.rehearse', 'sysctls.bash'))} <<'END'\n{lines}END"
    files = node.run(script).check(node.name, "kernel parameters").split()
    return sentence([file.removeprefix("/proc/sys/").replace("/", ".") for file in files])


def sentence(keys: list[str]) -> str:
    """For people, about those that could not be set."""
    if not keys:
        return ""
    named = ", ".join(keys[:_NAMED]) + (", …" if len(keys) > _NAMED else "")
    return f"kernel parameters that are not here or cannot be set so, {len(keys)}: {named}"
