"""What a run notes about the machine and the programs on it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from lvslab.host.programs import program_path

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


@cache
def tools() -> Mapping[str, str | None]:
    """Tool → version as it prints it, or that of its Debian package where it prints none: ipvsadm
    tells it only where the kernel has ip_vs. None where the tool is missing. Asked for once: a
    process may run many worlds.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(_VERSION_COMMANDS, pool.map(version, _VERSION_COMMANDS.values()), strict=True))


def version(command: list[str]) -> str | None:
    """A tool's version, by the command that prints it."""
    program = shutil.which(command[0], path=program_path())
    if program is None:
        return None
    done = _run([program, *command[1:]])
    lines = (done.stdout + done.stderr).strip().splitlines() if done and done.returncode == 0 else []
    return lines[0].strip() if lines else _of_package(program) or "there, tells no version"


def _of_package(program: str) -> str | None:
    """The name and version of the Debian package that a program is from (dpkg-query(1))."""
    path = str(Path(program).resolve())  # packages know files by either name where /sbin is /usr/sbin
    owners = _run(["dpkg-query", "--search", path, path.removeprefix("/usr")])  # status 1: one is unknown
    name = owners.stdout.partition(":")[0] if owners else ""
    if not name:
        return None
    shown = _run(["dpkg-query", "--show", "--showformat", "${Package} ${Version}", name])
    return f"package {shown.stdout}" if shown and shown.returncode == 0 else None


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
