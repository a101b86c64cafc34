"""Parts of the scripts of `Exercise.prepare`: what makes a guest's programs fit its kernel, and
what waits for another node's script, and programs that go on beside the student.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from lvslab.host.scripts import guest_file
from lvslab.modes.base import Sysctl

LEGACY_IPTABLES = (
    "for each in iptables iptables-save iptables-restore; do ln -sf /usr/sbin/$each-legacy"
    " /etc/alternatives/$each; done\n"
)
"""`iptables` means iptables-legacy, as update-alternatives(1) would do it.

Debian's User-Mode Linux kernel has the legacy tables. On top of nf_tables iptables accepts rules
there that never match, because the chains' types are missing, and says nothing.
"""


def sysctls(values: Mapping[str, str | int]) -> str:
    """Lines that set kernel parameters without a program, which costs a guest 40 ms."""
    return "".join(f"{Sysctl(key, value).fast()}\n" for key, value in values.items())


def wait_for(condition: str, seconds: int = 20) -> str:
    """Lines that wait until a command succeeds: all nodes are prepared side by side, and one may
    have to see first what another one did.

    Args:
        condition: a /bin/sh command without single quotes.
        seconds: after so many the script fails.
    """
    return f"""\
n=0
until {condition}; do
    n=$((n + 1))
    [ $n -lt {10 * seconds} ] || {{ echo 'waited in vain for: {condition}' >&2; exit 1; }}
    sleep 0.1
done
"""


def background(*names: str) -> str:
    """Lines that lay programs of `training/guest/`, written for bash, into /root and start each; it
    can rest by reading /run/never, where nobody writes.
    """
    lines = ["mkfifo /run/never"]
    for name in names:
        path = f"/root/{PurePath(name).stem}"
        lines += [f"cat >{path} <<'END'", f"{guest_file('lvslab.training', name)}END"]
        lines.append(f"setsid bash {path} </dev/null >/dev/null 2>&1 &")
    return "\n".join(lines) + "\n"
