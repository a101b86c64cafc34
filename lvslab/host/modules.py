"""Modules of the machine's own kernel: what a command makes it load stays loaded."""

from __future__ import annotations

from pathlib import Path

_LOADED = Path("/proc/modules")


def listing(file: Path = _LOADED) -> tuple[str, ...]:
    """Their names, newest first, so that none stands before one that uses it; none where the kernel
    has no modules (proc_modules(5)).
    """
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return ()
    return tuple(line.split()[0] for line in lines)


def notice(before: tuple[str, ...], after: tuple[str, ...]) -> str | None:
    """What to say about modules that have come; None if none has.

    Nothing unloads them unasked: another program may use them by now, and removing one that holds
    no count of its users, such as ipip or iptable_nat, would take tunnels or rules away.
    """
    new = [name for name in after if name not in before]
    if not new:
        return None
    tunnel = " (and made tunl0)" if "ipip" in new else ""
    names = " ".join(new)
    return (
        f"meanwhile the machine's own kernel loaded {names}{tunnel}; to unload what nothing needs any more:"
        f" modprobe -r {names}"
    )
