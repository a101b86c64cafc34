"""The script that reads a machine, and the questions that it puts to the kernel's routing: reading
only, no packet is sent.

Programs are slow to start in guests, so files are read by one grep, and everything of iproute2 by
one `ip -batch`.
"""

from __future__ import annotations

from collections.abc import Sequence

MARK = "==== lvslab doctor: "
"""Begins the line in front of each part of the output."""

MOST_CONNECTIONS = 20_000
"""So many lines of the connection table are read at most: a busy director has millions, and the
first ones tell the same.
"""

_SYSCTLS = (
    "kernel/osrelease",
    "net/ipv4/ip_forward",
    "net/ipv4/vs/*",
    "net/ipv4/conf/*/arp_ignore",
    "net/ipv4/conf/*/arp_announce",
    "net/ipv4/conf/*/rp_filter",
    "net/ipv4/conf/*/forwarding",
    "net/netfilter/nf_conntrack_max",
)

_FILES = (
    *(f"/proc/sys/{each}" for each in _SYSCTLS),
    "/proc/net/tcp",
    "/proc/net/tcp6",
    "/proc/net/udp",
    "/proc/net/udp6",
    "/proc/net/ip_vs",
    "/proc/net/stat/nf_conntrack",
    "/proc/sys/net/netfilter/nf_conntrack_count",
    "/proc/[0-9]*/comm",
)

_IP = ("address show", "route show table all", "rule show", "neigh show")

_IPVSADM = (
    ("table", "-S -n"),
    ("stats", "-L -n --stats --exact"),
    ("connections", f"-L -n -c --persistent-conn | head -n {MOST_CONNECTIONS}"),
    ("timeouts", "-L -n --timeout"),
    ("daemons", "-L -n --daemon"),
)


def reading(director: bool) -> str:
    """The /bin/sh script that reads a machine.

    iptables-save is started only where the kernel has tables: looking for them must not load
    modules.
    """
    lines = [
        "PATH=$PATH:/usr/sbin:/sbin",
        f"echo '{MARK}files'",
        f"grep -H '' {' '.join(_FILES)} 2>&1",
        f"echo '{MARK}ip'",
        "ip -force -details -json -batch - <<'END' 2>&1",
        *_IP,
        "END",
        f"echo '{MARK}rules'",
        "if [ -e /proc/net/ip_tables_names ]; then iptables-legacy-save 2>&1; fi",
        f"if [ -d /sys/module/nf_tables ]; then echo '{MARK}nft'; iptables-nft-save 2>&1; fi",
        f"if [ -s /proc/net/arp_tables_names ]; then echo '{MARK}arp'; arptables-legacy-save 2>&1; fi",
    ]
    if (
        not director
        # how long connections have been idle, which /proc does not tell; a director has only its
        # own
    ):
        lines += [f"echo '{MARK}idle'", "ss --no-header --tcp --numeric --info state established 2>&1"]
    if director:
        lines.append("if [ -e /proc/net/ip_vs ]; then")
        for name, options in _IPVSADM:
            command, pipe, rest = options.partition(" | ")
            lines += [f"echo '{MARK}{name}'", f"ipvsadm {command} 2>&1{pipe}{rest}"]
        lines += [f"echo '{MARK}synced'", "grep -c ' SYNC ' /proc/net/ip_vs_conn_sync 2>&1"]
        lines.append("fi")
    return "\n".join([*lines, "exit 0"]) + "\n"


def asking(questions: Sequence[tuple[str, str]]) -> str:
    """A script that asks the kernel how it would send: (source or "", destination) each. It sends
    nothing.
    """
    lines = [f"route get {there}" + (f" from {here}" if here else "") for here, there in questions]
    return (
        "\n".join(
            [
                "PATH=$PATH:/usr/sbin:/sbin",
                "ip -force -json -batch - <<'END' 2>/dev/null",
                *lines,
                "END",
                "exit 0",
            ]
        )
        + "\n"
    )
