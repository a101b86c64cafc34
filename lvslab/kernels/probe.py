"""What the kernels of this machine can do, found by trial: a capability is what a trial did, not
what a file says.

Trials on the machine's own kernel run in a network namespace that is thrown away. Any other kernel
is tried by booting a guest once; that result is kept under the identity of kernel and modules,
because a boot costs seconds and the same kernel gives the same answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvslab.errors import CannotError, GuestError, LabError
from lvslab.host.completed import Completed
from lvslab.ipvs.schedulers import try_schedulers
from lvslab.kernels import initramfs
from lvslab.kernels.cache import cache_directory as cache_directory
from lvslab.kernels.cache import keep
from lvslab.kernels.kinds import CHEAPEST, HOST, KINDS
from lvslab.kernels.machine import Kernel
from lvslab.kernels.needs import IPTABLES_VARIANTS, NEEDS, KernelFacts, Kernels, Need, modules_for

_TRIAL_TIMEOUT = 60.0
"""Seconds for one need; an emulated processor on a busy machine takes several."""
_LOOPBACK_UP = "ip link set lo up"
"""A new namespace has no local routing table while its loopback is down: the kernel then takes
every address for a broadcast one, and refuses it as a real server (ip_vs_new_dest in
net/netfilter/ipvs/ip_vs_ctl.c, by inet_addr_type).
"""
_CACHE_VERSION = 1


def kernels_here(
    needs: Iterable[Need] = tuple(Need), wanted: str | None = None, fresh: bool = False
) -> Kernels:
    """Try the kernels of this machine.

    Args:
        needs: what to try on the machine's own kernel.
        wanted: try only this kind for these needs (others may serve nodes that need nothing); by
            default all that may be tried unasked, until one meets them.
        fresh: boot a guest's trial again even if its result is kept.
    """
    needs = tuple(dict.fromkeys(needs))
    facts: dict[str, KernelFacts] = {HOST: host_facts(needs if wanted in (None, HOST) else ())}
    absent: dict[str, str] = {}
    if wanted == HOST:
        return Kernels(facts, absent)
    for kind in [KINDS[wanted]] if wanted else [kind for kind in KINDS.values() if kind.tried_unasked]:
        if any(set(needs) <= known.met for known in facts.values()):
            break
        try:
            facts[kind.kind] = guest_facts(kind.installed(), fresh)
        except (CannotError, LabError) as error:
            absent[kind.kind] = str(error)
    return Kernels(facts, absent)


def try_needs(
    needs: Iterable[Need], run: Callable[[str], Completed]
) -> tuple[frozenset[Need], dict[Need, str], str | None]:
    """Run the trials of some needs on one kernel.

    Args:
        run: runs a /bin/sh script where nothing needs to be put back.

    Returns:
        The needs that are met, the others with the reason, and the iptables variant that worked.
    """
    met, unmet, iptables = set[Need](), dict[Need, str](), None
    for need in needs:
        variants = (
            ([iptables] if iptables else list(IPTABLES_VARIANTS)) if NEEDS[need].uses_iptables else [""]
        )
        reasons: list[str] = []
        for variant in variants:
            done = run("\n".join(["set -e", f"IPTABLES={variant}", *NEEDS[need].trial]))
            if done.code == 0:
                met.add(need)
                iptables = variant or iptables
                break
            reasons.append(_reason(done))
        else:
            unmet[need] = "; ".join(dict.fromkeys(reasons))
    return frozenset(met), unmet, iptables


def _reason(done: Completed) -> str:
    lines = [
        line.strip()
        for line in (done.err + done.out).splitlines()
        if line.strip() and "modprobe:" not in line
    ]
    return lines[0] if lines else f"the trial ended with status {done.code}"


def host_facts(needs: Iterable[Need]) -> KernelFacts:
    """Try the machine's own kernel, each need in a new network namespace (rootless: in a user
    namespace of its own).

    Modules that a trial makes the kernel load stay loaded.
    """
    enter = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]

    def run(script: str) -> Completed:
        try:
            done = subprocess.run(
                [*enter, "/bin/sh", "-c", f"{_LOOPBACK_UP}\n{script}"],
                capture_output=True,
                text=True,
                timeout=_TRIAL_TIMEOUT,
                check=False,
                env={
                    **os.environ,
                    "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
                    "XTABLES_LOCKFILE": lock.name,
                },
            )
        except subprocess.TimeoutExpired:
            return Completed(124, "", f"no answer within {_TRIAL_TIMEOUT:g} s")
        return Completed(done.returncode, done.stdout, done.stderr)

    # An ordinary user may not lock /run/xtables.lock, which would hide what the kernel says.
    with tempfile.NamedTemporaryFile(prefix="lvslab-xtables-") as lock:
        met, unmet, iptables = try_needs(needs, run)
    return KernelFacts(HOST, os.uname().release, _host_config_sha256(), met, unmet, iptables)


def _host_config_sha256() -> str | None:
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            continue
    return None


def guest_facts(kernel: Kernel, fresh: bool = False) -> KernelFacts:
    """What a kernel of our own can do, by booting it once.

    Raises:
        CannotError: a file that the boot needs is missing.
        GuestError: it does not boot.
    """
    if not fresh:
        facts = _read_kept(_kept(kernel))
        if facts:
            return facts
    facts = _boot_trial(kernel).facts
    keep_facts(kernel, facts)
    return facts


@dataclass(frozen=True)
class Trial:
    """What booting a kernel showed.

    Attributes:
        kernel: the one that booted, with the extra arguments that proved useful.
        boot_seconds: from its start until it ran jobs.
        schedulers: of IPVS, those that work; only `try_kernel` looks.
    """

    kernel: Kernel
    facts: KernelFacts
    boot_seconds: float
    schedulers: tuple[str, ...] = ()


def try_kernel(kernel: Kernel, console: Path) -> Trial:
    """Try a kernel that was never booted here, also with what is worth trying of its kind; one that
    can be no node of a lab by booting it alone.

    Args:
        console: file for what the kernel prints.

    Raises:
        CannotError: a file that the boot needs is missing.
        GuestError: it does not boot.
    """
    if why := kernel.cannot_direct():
        return _alone_trial(kernel, why, console)
    faster = kernel.worth_trying()
    if faster is None:
        return _boot_trial(kernel, console, schedulers=True)
    try:
        trial = _boot_trial(faster, console, schedulers=True)
    except GuestError:
        return _boot_trial(kernel, console, schedulers=True)
    return trial if trial.proved else replace(trial, kernel=kernel)


def _alone_trial(kernel: Kernel, why: str, console: Path) -> Trial:
    """It has nothing that a lab asks for, for the one reason."""
    began = time.monotonic()
    release = kernel.boot_alone(console)
    took = time.monotonic() - began
    unmet = dict.fromkeys(Need, why)
    return Trial(
        kernel, KernelFacts(kernel.kind, release, kernel.config_sha256, frozenset(), unmet, None), took
    )


@dataclass(frozen=True)
class _BootTrial(Trial):
    proved: bool = False


def _boot_trial(kernel: Kernel, console: Path | None = None, schedulers: bool = False) -> _BootTrial:
    kernel.prepare_trial()
    wanted = initramfs.fitting(kernel.modules, modules_for(NEEDS))
    there = [name for name in wanted if name not in set(initramfs.missing_modules(kernel.modules, wanted))]
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="lvslab-trial-", dir=base) as home:
        began = time.monotonic()
        guest = kernel.boot("trial", there, Path(home) / "trial", console or Path(home) / "console")
        try:
            guest.wait_ready()
            took = time.monotonic() - began
            met, unmet, iptables = try_needs(NEEDS, lambda script: guest.run(f"({script}\n)", _TRIAL_TIMEOUT))
            release = guest.run("uname -r").out.strip()
            proved = kernel.proved(guest)
            found = (
                try_schedulers(lambda script: guest.run(script, _TRIAL_TIMEOUT))
                if schedulers and Need.IP_VS in met
                else ()
            )
        finally:
            guest.close()
    facts = KernelFacts(kernel.kind, release, kernel.config_sha256, met, unmet, iptables)
    return _BootTrial(kernel, facts, took, found, proved)


def _kept(kernel: Kernel) -> Path:
    trials = hashlib.sha256(repr(NEEDS).encode()).hexdigest()[:16]
    return cache_directory() / f"{kernel.kind}-{kernel.identity}-{trials}.json"


def facts_to_json(facts: KernelFacts) -> dict[str, Any]:
    """Facts as JSON keeps them."""
    return {
        "version": _CACHE_VERSION,
        "kind": str(facts.kind),
        "release": facts.release,
        "config_sha256": facts.config_sha256,
        "met": sorted(facts.met),
        "unmet": dict(facts.unmet),
        "iptables": facts.iptables,
    }


def facts_from_json(kept: Mapping[str, Any]) -> KernelFacts:
    """Facts of a guest's kernel from `facts_to_json`.

    Raises:
        ValueError, KeyError, TypeError: another version wrote them, or they are damaged.
    """
    kind = kept.get("kind", CHEAPEST.kind)
    if kept["version"] != _CACHE_VERSION or kind not in KINDS:
        raise ValueError("another version of lvslab wrote these facts")
    return KernelFacts(
        kind,
        kept["release"],
        kept["config_sha256"],
        frozenset(map(Need, kept["met"])),
        {Need(need): reason for need, reason in kept["unmet"].items()},
        kept["iptables"],
    )


def _read_kept(path: Path) -> KernelFacts | None:
    """A kept result, or None if there is none that this version understands."""
    try:
        return facts_from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_facts(kernel: Kernel, facts: KernelFacts) -> None:
    """Keep a trial's result; a machine whose cache cannot be written boots the trial again next
    time.
    """
    keep(_kept(kernel), lambda path: path.write_text(json.dumps(facts_to_json(facts))))
