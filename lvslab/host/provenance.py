"""What a run notes about the machine and the programs on it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


_VERSION_COMMANDS = {
    "ipvsadm": ["ipvsadm", "--version"],
    "iproute2": ["ip", "-V"],
    "iptables": ["iptables", "--version"],
    "nginx": ["nginx", "-v"],
    "curl": ["curl", "--version"],
    "iperf3": ["iperf3", "--version"],
    "wrk": ["wrk", "--version"],
    "mnexec": ["mnexec", "-v"],
    "qemu": ["qemu-system-x86_64", "--version"],
}


def host() -> dict[str, Any]:
    """The machine, as run.json keeps it."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "kernel": os.uname().release,
        "machine": os.uname().machine,
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_model": model[1] if model else None,
        "memory_mib": int(memory[1]) // 1024 if memory else None,
        "tcp_congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "python": platform.python_version(),
        "user": "root" if _is_real_root() else "ordinary user",
    }


def _is_real_root() -> bool:
    """Whether user 0 here is user 0 of the machine (user_namespaces(7))."""
    inside, outside, count = map(int, Path("/proc/self/uid_map").read_text().split()[:3])
    return os.geteuid() == 0 and (inside, outside) == (0, 0) and count > 1


def tools() -> dict[str, str | None]:
    """Tool → version as it prints it; None where it is missing."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(_VERSION_COMMANDS, pool.map(_version, _VERSION_COMMANDS.values()), strict=True))


def _version(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else None
