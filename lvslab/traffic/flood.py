"""A SYN flood from a client, as a context manager; the program is `flood_program.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvslab.errors import LabError, UsageError
from lvslab.lab import Lab
from lvslab.network.nodes import LabHost
from lvslab.plan import HTTP_PORT

MAX_RATE = 20_000
MAX_SECONDS = 120.0


@contextmanager
def syn_flood(lab: Lab, client: str, rate: float, seconds: float = MAX_SECONDS, port: int = HTTP_PORT) -> Iterator[None]:
    """Flood the virtual service with SYNs from addresses that never answer, until the block is left or `seconds` have passed.

    Args:
        client: a client on the machine's own kernel; the flood goes out of its first interface.
        rate: SYNs a second.

    Raises:
        UsageError: a rate or duration that is not bounded, or no such client.
        LabError: the flood did not run.
    """
    if not 0 < rate <= MAX_RATE or not 0 < seconds <= MAX_SECONDS:
        raise UsageError(f"SYN flood: {rate:g}/s for {seconds:g} s; at most {MAX_RATE}/s for {MAX_SECONDS:g} s")
    node, planned = lab.node(client), lab.plan.node(client)
    if not isinstance(node, LabHost):
        raise UsageError(f"SYN flood: '{client}' is a guest; take a client on the machine's own kernel")
    interface = planned.interfaces[0]
    gateway = next(each for each in lab.plan.node(lab.master).interfaces if each.network == interface.network)
    program = Path(__file__).with_name("flood_program.py")
    command = [
        "mnexec",
        "-a",
        str(node.pid),
        sys.executable,
        "-I",
        "-S",
        str(program),
        interface.name,
        interface.mac,
        gateway.mac,
    ]
    command += [lab.plan.addresses.vip, str(port), f"{rate:g}", f"{seconds:g}"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        lab.tell("fault", f"{client}: SYN flood, {rate:g}/s from 198.18.0.0/15", client)
        try:
            yield
            if process.poll() not in (None, 0):
                raise LabError(f"{client}: SYN flood ended with {process.returncode}: {process.communicate()[1].strip()[-200:]}")
        finally:
            process.kill()
    lab.tell("repair", f"{client}: SYN flood over", client)
