"""Modules of the machine's own kernel: what a command makes it load stays loaded."""

from __future__ import annotations

from pathlib import Path

_LOADED = Path("/proc/modules")

_UNCOUNTED = ("bridge", "ip6table_", "ipip", "iptable_", "veth")
"""How the names of modules begin that do not count their users: removing one removes its links, or
its table of rules, in every namespace (rtnl_link_unregister, net/core/rtnetlink.c).
"""


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

    Nothing unloads them unasked: another program may use them by now, and the kernel refuses only
    for modules that count their users.
    """
    new = [name for name in after if name not in before]
    if not new:
        return None
    tunnel = " (and made tunl0)" if "ipip" in new else ""
    names = " ".join(new)
    uncounted = [name for name in new if name.startswith(_UNCOUNTED)]
    taken = f" (with {', '.join(uncounted)} go their links or rules, whoever made them)" if uncounted else ""
    return (
        f"meanwhile the machine's own kernel loaded {names}{tunnel}; to unload what nothing needs any more"
        f"{taken}: modprobe -r {names}"
    )
