"""Labs whose director has a file for a daemon beside its table: the two do not agree, or the file
is wrong. The doctor reads what its script prints there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from lvslab.lab.lab import Lab
from tests.lab.broken import OTHER_PORT, VIP, Fault, serves, shares

_KEEPALIVED = "/etc/keepalived/keepalived.conf"
_LDIRECTORD = "/etc/ha.d/ldirectord.cf"


# -- files -----------------------------------------------------------------------------------------


def _put(path: str, text: str) -> str:
    return f"mkdir -p $(dirname {path}) && cat >{path} <<'END'\n{text}END\n"


def _pool(*servers: str, port: int = OTHER_PORT, more: str = "") -> str:
    """A virtual server of keepalived.conf, behind which its real servers are reached by NAT."""
    listed = "".join(f"    real_server {server}\n" for server in servers)
    return (
        f"virtual_server {VIP} {port} {{\n    lb_algo wrr\n    lb_kind NAT\n    protocol TCP\n"
        f"{more}{listed}}}\n"
    )


def _weighing(server: str, weight: int = 1) -> str:
    return f"{server} 8080 {{\n        weight {weight}\n    }}"


_BOTH = (_weighing("10.0.1.11"), _weighing("10.0.1.12"))


def _virtual(*servers: str, scheduler: str = "wrr") -> str:
    """A virtual server of ldirectord.cf."""
    listed = "".join(f"\treal={server}:8080 masq\n" for server in servers)
    return (
        f"virtual={VIP}:{OTHER_PORT}\n{listed}\tscheduler={scheduler}\n\tprotocol=tcp\n\tchecktype=connect\n"
    )


def _table(*servers: str) -> str:
    """Commands for the same service: each server is its arguments."""
    return f"ipvsadm -A -t {VIP}:{OTHER_PORT} -s wrr\n" + "".join(
        f"ipvsadm -a -t {VIP}:{OTHER_PORT} {server}\n" for server in servers
    )


_TWO = _table("10.0.1.11:8080 -m", "10.0.1.12:8080 -m")


# -- how the daemons take their files --------------------------------------------------------------


def _daemon(path: str, start: str) -> str:
    """Start a daemon if its file is there: it must take it without a word."""
    return f"if [ -e {path} ]; then\n{{ {start}; }} >/tmp/said 2>&1 || code=1\ncat /tmp/said\nfi\n"


_DAEMONS = (
    # those of an earlier trial
    "for number in /run/keepalived.pid /run/ldirectord.ldirectord.cf.pid; do\n"
    "    pid=$(cat $number 2>/dev/null) && kill $pid && while [ -e $number ]; do sleep 0.1; done\n"
    "done\nipvsadm -C\ncode=0\n"
    + _daemon(_LDIRECTORD, f"ldirectord {_LDIRECTORD} start")
    + _daemon(
        _KEEPALIVED,
        f"keepalived --config-test --use-file {_KEEPALIVED} && keepalived --use-file {_KEEPALIVED}",
    )
    + "exit $code\n"
)


def _settled(*lines: str, judge: Callable[[Lab, Path], str]) -> Callable[[Lab, Path], str]:
    """A daemon that was just started has done as its file says, and clients are content.

    Args:
        lines: patterns of what is listed of the table and of the sync daemons then.
        judge: of the clients.
    """
    complete = " && ".join(f"echo \"$shown\" | grep -q -e '{line}'" for line in lines)
    script = (
        'for n in $(seq 300); do\n    shown="$(ipvsadm -S -n; ipvsadm -L --daemon)"\n'
        f'    {complete} && break\n    sleep 0.1\ndone\necho "$shown"\n'
    )

    def judged(lab: Lab, logs: Path) -> str:
        shown = lab.director.run(script, timeout=180).out
        if missing := [line for line in lines if not re.search(line, shown)]:
            return f"{missing} not in {shown!r}"
        return judge(lab, logs)

    return judged


def _taken(*lines: str, judge: Callable[[Lab, Path], str]) -> Callable[[Lab, Path], str]:
    """The daemons take their files without a word and do as they say (`_settled`)."""
    settled = _settled(*lines, judge=judge)

    def judged(lab: Lab, logs: Path) -> str:
        started = lab.director.run(_DAEMONS, timeout=60)
        if started.code or started.out:
            return f"exit code {started.code}: {started.out}{started.err}"
        return settled(lab, logs)

    return judged


_FIRST, _SECOND = "-r 10.0.1.11:8080 -m", "-r 10.0.1.12:8080 -m"
_TWO = _table(_FIRST, _SECOND)
_OTHER_FAMILY = "-r [2001:db8::9]:81 -i -w 0"
_TWICE = _virtual("10.0.1.11", "10.0.1.12")

FILE_FAULTS = (
    Fault(
        "server-not-in-file",
        "nat",
        printed=True,
        shows=True,
        commands={"lvs": _put(_KEEPALIVED, _pool(_weighing("10.0.1.11"))) + _TWO},
        judge=shares(OTHER_PORT, rs1=6),
    ),
    Fault(
        "weight-not-as-in-file",
        "nat",
        printed=True,
        shows=True,
        commands={"lvs": _put(_KEEPALIVED, _pool(_weighing("10.0.1.11", 2), _weighing("10.0.1.12"))) + _TWO},
        judge=shares(OTHER_PORT, rs1=4, rs2=2),
    ),
    Fault(
        "service-not-in-table",
        "nat",
        printed=True,
        shows=True,
        commands={"lvs": _put(_KEEPALIVED, _pool(*_BOTH))},
        known={"systemctl start keepalived": f"keepalived --use-file {_KEEPALIVED}"},
        judge=_settled(_FIRST, _SECOND, judge=serves(OTHER_PORT)),
    ),
    Fault(
        "quorum-above-weights",
        "nat",
        printed=True,
        shows=True,
        commands={"lvs": _put(_KEEPALIVED, _pool(*_BOTH, more="    quorum 3\n")) + _TWO},
        acts={
            r"in keepalived.conf: (quorum \d+), .*": rf"lvs# sed -i 's/quorum .*/\1/' {_KEEPALIVED}",
        },
        judge=_taken(_FIRST, _SECOND, judge=serves(OTHER_PORT)),
    ),
    Fault(
        "duplicate-service",
        "nat",
        printed=True,
        shows=True,
        commands={"lvs": _put(_LDIRECTORD, 2 * _TWICE) + _TWO},
        acts={"leave one of the two": f"lvs# sed -i 1,{_TWICE.count(chr(10))}d {_LDIRECTORD}"},
        judge=_taken(_FIRST, _SECOND, judge=serves(OTHER_PORT)),
    ),
    Fault(
        "several-managers",
        "nat",
        printed=True,
        shows=True,
        commands={
            "lvs": _put(_KEEPALIVED, _pool(*_BOTH))
            + _put(_LDIRECTORD, _virtual("10.0.1.11", "10.0.1.12", scheduler="rr"))
            + _TWO
        },
        acts={"leave one of the two": f"lvs# rm {_LDIRECTORD}"},
        judge=_taken(f"-t {VIP}:{OTHER_PORT} -s wrr", _FIRST, _SECOND, judge=serves(OTHER_PORT)),
    ),
    Fault(
        "sync-and-mixed-families",
        "nat",
        printed=True,
        shows=True,
        commands={
            "lvs": _put(
                _KEEPALIVED,
                "global_defs {\n    lvs_sync_daemon lvs-eth1\n}\n"
                + _pool(
                    _weighing("10.0.1.11"),
                    "2001:db8::9 81 {\n        weight 0\n        lvs_method TUN\n    }",
                ),
            )
            + _table(_FIRST, _OTHER_FAMILY)
        },
        acts={r"in keepalived.conf: .* or no lvs_sync_daemon": f"lvs# sed -i /lvs_sync/d {_KEEPALIVED}"},
        judge=_taken(_FIRST, r"2001:db8::9\]:81 -i", judge=serves(OTHER_PORT)),
    ),
)
