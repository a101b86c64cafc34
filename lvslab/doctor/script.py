"""The script that reads a machine, and the questions that it puts to the kernel's routing: reading
only, no packet is sent.

Programs are slow to start in guests, so files are read by one grep, and everything of iproute2 by
one `ip -batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lvslab.host.scripts import guest_file
from lvslab.reading.sections import MARK

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
    "net/ipv6/conf/*/forwarding",
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
    ("connections", f"-L -n -c --persistent-conn | head -n {MOST_CONNECTIONS}"),
    ("timeouts", "-L -n --timeout"),
    ("daemons", "-L -n --daemon"),
)
_COUNTERS = ("stats", "-L -n --stats --exact")
_PER_CPU = "/proc/net/ip_vs_stats_percpu"
_BEGINNING = (
    f"if [ ! -r {_PER_CPU} ] || grep -q '^ *[0-9A-F][0-9A-F]* .*[1-9A-F]' {_PER_CPU}; then",
    "sleep 2 &",
    "fi",
)
"""What `ipvsadm --stats` shows of a service or server is up to two seconds old: so often does the
kernel's estimator add up what each processor has counted (ip_vs_est.c: a timer of 2 * HZ in 6.1,
IPVS_EST_NTICKS ticks of a thread since 6.2), and the sums are what it shows (ip_vs_copy_stats,
ip_vs_ctl.c). So counters are read last, two seconds after the rest, unless no processor has counted
a packet yet.
"""


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
        lines += _ipvs(lambda name: f"echo '{MARK}{name}'")
        lines += [f"echo '{MARK}synced'", "grep -c ' SYNC ' /proc/net/ip_vs_conn_sync 2>&1"]
        lines.append("fi")
    return "\n".join([*lines, "exit 0"]) + "\n"


def _ipvs(header: Callable[[str], str]) -> list[str]:
    """Lines that list the virtual server, each part behind its header."""

    def listing(name: str, options: str) -> list[str]:
        command, pipe, rest = options.partition(" | ")
        return [header(name), f"ipvsadm {command} 2>&1{pipe}{rest}"]

    before = [line for part in _IPVSADM for line in listing(*part)]
    return [*_BEGINNING, *before, "wait", *listing(*_COUNTERS)]


def printed() -> str:
    """The script for machines without lvslab: a person runs it and hands its output on. Any POSIX
    shell takes it, and the programs of busybox will do.
    """
    script = guest_file("lvslab.doctor", "read.sh")
    for place, words in (
        ("@MARK@", MARK),
        ("@FILES@", " ".join(_FILES)),
        ("@CONNECTIONS@", str(MOST_CONNECTIONS)),
        ("@IPVSADM@", "\n    ".join(_ipvs(lambda name: f"part {name}"))),
    ):
        script = script.replace(place, words)
    return script


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
