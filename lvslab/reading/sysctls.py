"""Kernel parameters as `sysctl -a`, a sysctl.conf and `grep -H '' /proc/sys/…` show them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lvslab.reading.unclear import Unclear

_LINE = re.compile(r"-?\s*([a-z][\w./*-]*)\s*=\s*(.*)")
_FILE = re.compile(r"/proc/sys/([^:\s]+):(.*)")


@dataclass(frozen=True)
class Sysctls:
    """Parameter with dots → value, blanks made single; a later line counts more."""

    values: dict[str, str] = field(default_factory=dict)
    unclear: tuple[Unclear, ...] = ()


def read_sysctls(text: str) -> Sysctls:
    """Parameters of any of the three forms. Dots in a link's name, which sysctl(8) writes as
    slashes, become dots again: net.ipv4.conf.eth0/7.rp_filter.
    """
    values: dict[str, str] = {}
    unclear: list[Unclear] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        file, setting = _FILE.fullmatch(line), _LINE.fullmatch(line)
        if file:
            values.setdefault(file[1].replace("/", "."), " ".join(file[2].split()))
        elif setting:
            values[setting[1].replace("/", ".")] = " ".join(setting[2].split())
        elif not line.startswith(("sysctl:", "error:")):
            unclear.append(Unclear(number, raw, "no kernel parameter"))
    return Sysctls(values, tuple(unclear))
