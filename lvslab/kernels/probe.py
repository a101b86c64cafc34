"""What the kernels of this machine can do, found by trial: a capability is what a trial did, not what a file says.

Trials on the machine's own kernel run in a network namespace that is thrown away. User-Mode Linux is tried by booting a guest once;
that result is kept under the identity of binary and modules, because a boot costs a second and the same binary gives the same answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from lvslab.completed import Completed
from lvslab.errors import CannotError, LabError
from lvslab.kernels import initramfs
from lvslab.kernels.needs import IPTABLES_VARIANTS, NEEDS, KernelFacts, KernelKind, Need, modules_for
from lvslab.kernels.uml import UmlGuest, UmlKernel
from lvslab.plan import Kernels

_TRIAL_TIMEOUT = 20.0
_CACHE_VERSION = 1


def kernels_here(needs: Iterable[Need] = tuple(Need), wanted: KernelKind | None = None, fresh: bool = False) -> Kernels:
    """Try the kernels of this machine.

    Args:
        needs: what to try on the machine's own kernel.
        wanted: try only this kind for these needs (the other may serve nodes that need nothing).
        fresh: boot the User-Mode Linux trial again even if its result is kept.
    """
    needs = tuple(dict.fromkeys(needs))
    facts: dict[str, KernelFacts] = {KernelKind.HOST: host_facts(needs if wanted != KernelKind.UML else ())}
    absent: dict[str, str] = {}
    if wanted != KernelKind.HOST and not set(needs) <= facts[KernelKind.HOST].met:
        try:
            facts[KernelKind.UML] = uml_facts(UmlKernel.find(), fresh)
        except (CannotError, LabError) as error:
            absent[KernelKind.UML] = str(error)
    return Kernels(facts, absent)


def try_needs(needs: Iterable[Need], run: Callable[[str], Completed]) -> tuple[frozenset[Need], dict[Need, str], str | None]:
    """Run the trials of some needs on one kernel.

    Args:
        run: runs a /bin/sh script where nothing needs to be put back.

    Returns:
        The needs that are met, the others with the reason, and the iptables variant that worked.
    """
    met, unmet, iptables = set[Need](), dict[Need, str](), None
    for need in needs:
        variants = ([iptables] if iptables else list(IPTABLES_VARIANTS)) if NEEDS[need].uses_iptables else [""]
        for variant in variants:
            done = run("\n".join(["set -e", f"IPTABLES={variant}", *NEEDS[need].trial]))
            if done.code == 0:
                met.add(need)
                unmet.pop(need, None)
                iptables = variant or iptables
                break
            unmet.setdefault(need, _reason(done))
    return frozenset(met), unmet, iptables


def _reason(done: Completed) -> str:
    lines = [line.strip() for line in (done.err + done.out).splitlines() if line.strip() and "modprobe:" not in line]
    return lines[0] if lines else f"the trial ended with status {done.code}"


def host_facts(needs: Iterable[Need]) -> KernelFacts:
    """Try the machine's own kernel, each need in a new network namespace (rootless: in a user namespace of its own)."""
    enter = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]

    def run(script: str) -> Completed:
        try:
            done = subprocess.run(
                [*enter, "/bin/sh", "-c", script],
                capture_output=True,
                text=True,
                timeout=_TRIAL_TIMEOUT,
                check=False,
                env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
            )
        except subprocess.TimeoutExpired:
            return Completed(124, "", f"no answer within {_TRIAL_TIMEOUT:g} s")
        return Completed(done.returncode, done.stdout, done.stderr)

    met, unmet, iptables = try_needs(needs, run)
    return KernelFacts(KernelKind.HOST, os.uname().release, _host_config_sha256(), met, unmet, iptables)


def _host_config_sha256() -> str | None:
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{os.uname().release}")):
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError:
            continue
    return None


def uml_facts(kernel: UmlKernel, fresh: bool = False) -> KernelFacts:
    """What a User-Mode Linux kernel can do, by booting it once.

    Raises:
        CannotError: a file that the boot needs is missing.
        GuestError: it does not boot.
    """
    trials = hashlib.sha256(repr(NEEDS).encode()).hexdigest()[:16]
    kept = _cache_directory() / f"uml-{kernel.identity}-{trials}.json"
    if not fresh:
        facts = _read_kept(kept)
        if facts:
            return facts
    facts = _boot_trial(kernel)
    _keep(kept, facts)
    return facts


def _boot_trial(kernel: UmlKernel) -> KernelFacts:
    wanted = modules_for(NEEDS)
    there = [name for name in wanted if name not in set(initramfs.missing_modules(kernel.modules, wanted))]
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="lvslab-trial-", dir=base) as home:
        guest = UmlGuest(kernel, "trial", there, Path(home) / "trial", Path(home) / "console")
        try:
            guest.wait_ready()
            met, unmet, iptables = try_needs(NEEDS, lambda script: guest.run(f"({script}\n)", _TRIAL_TIMEOUT))
            release = guest.run("uname -r").out.strip()
        finally:
            guest.close()
    return KernelFacts(KernelKind.UML, release, kernel.config_sha256, met, unmet, iptables)


def _cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lvslab" / "kernels"


def _read_kept(path: Path) -> KernelFacts | None:
    """A kept result, or None if there is none that this version understands."""
    try:
        kept = json.loads(path.read_text())
        if kept.get("version") != _CACHE_VERSION:
            return None
        return KernelFacts(
            KernelKind.UML,
            kept["release"],
            kept["config_sha256"],
            frozenset(map(Need, kept["met"])),
            {Need(need): reason for need, reason in kept["unmet"].items()},
            kept["iptables"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, facts: KernelFacts) -> None:
    """Keep a result; a machine whose cache cannot be written boots the trial again next time."""
    text = json.dumps(
        {
            "version": _CACHE_VERSION,
            "release": facts.release,
            "config_sha256": facts.config_sha256,
            "met": sorted(facts.met),
            "unmet": dict(facts.unmet),
            "iptables": facts.iptables,
        }
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        return
