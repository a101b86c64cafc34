"""Whether the guests of a lab fit into the machine's memory, asked before the first one boots.

A guest's memory is taken as it is used. What its kernel may use is bounded, so the sum over a lab
is known, and a machine that has it does not run out of memory by what the kernels do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lvslab.errors import CannotError
from lvslab.runs.words import plural

_COUNTED = ("MemAvailable", "SwapFree")


def refuse(lab: str, wanted: Mapping[str, int], available_mib: int) -> None:
    """Refuse a lab that does not fit.

    Args:
        wanted: each guest's memory in MiB, by the node's name.

    Raises:
        CannotError: together they may take more than is available.
    """
    total = sum(wanted.values())
    if total > available_mib:
        raise CannotError(
            f"lab '{lab}': {plural(len(wanted), 'guest kernel')} ({', '.join(wanted)}) may take {total} MiB"
            f" of memory, and {available_mib} MiB are available; end other programs, or ask for fewer servers"
        )


def available_mib(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Memory that programs can take, in MiB: what is free or can be freed, and free swap
    (proc_meminfo(5)).
    """
    rows = (line.split() for line in meminfo.read_text().splitlines())
    return sum(int(row[1]) for row in rows if row[0].rstrip(":") in _COUNTED) >> 10
