"""Which IPVS schedulers a kernel has, found by trial: a virtual service is made with each, and IPVS
loads the scheduler's module itself.
"""

from __future__ import annotations

from collections.abc import Callable

from lvslab.host.completed import Completed
from lvslab.ipvs.service import Scheduler

_SERVICE = "192.0.2.1:1"
_MARK = "=has "


def trial_script() -> str:
    """For /bin/sh in a guest that is thrown away: a line `=has NAME` for each scheduler
    that works.
    """
    names = " ".join(Scheduler)
    return (
        f"for name in {names}; do\n"
        f'  if ipvsadm -A -t {_SERVICE} -s "$name" 2>/dev/null; then echo "{_MARK}$name"; ipvsadm -D -t'
        f" {_SERVICE}; fi\n"
        "done\ntrue"
    )


def schedulers_had(output: str) -> tuple[Scheduler, ...]:
    """The schedulers that the script's output names, in the order of `Scheduler`."""
    said = {line.removeprefix(_MARK).strip() for line in output.splitlines() if line.startswith(_MARK)}
    return tuple(each for each in Scheduler if each in said)


def try_schedulers(run: Callable[[str], Completed]) -> tuple[Scheduler, ...]:
    """Run the trial; `run` runs a script in a guest that has IPVS and is thrown away."""
    return schedulers_had(run(trial_script()).out)
