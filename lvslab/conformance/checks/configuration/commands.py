"""Single commands: what ipvsadm takes and refuses, and the table after them.

Facts: ipvsadm(8) and ipvsadm.c 1.31 (exit code 2 for what ipvsadm refuses, 255 for what the kernel
does), ip_vs_ctl.c.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from lvslab.conformance.check import check
from lvslab.conformance.checks.configuration.table import HERE, RIP, SPLIT, TABLE, THERE, VIP
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench

_BASE = (f"-A -t {VIP}:80 -s rr", f"-a -t {VIP}:80 -r {RIP}:80 -g -w 3")


def _commands(bench: Bench, *commands: str) -> list[tuple[int, str, str]]:
    """Run ipvsadm once for each command line: exit code, what it said, and the table (`-S -n`)
    after it.
    """
    lines = []
    for command in commands:
        lines += [f"said=$(ipvsadm {command} 2>&1); echo $? $said", "ipvsadm -S -n", f"echo {SPLIT}"]
    found = []
    for part in bench.run("\n".join(lines)).split(f"{SPLIT}\n")[:-1]:
        first, _, table = part.partition("\n")
        code, _, said = first.partition(" ")
        found.append((int(code), said, table))
    return found


_REFUSED: Mapping[str, Sequence[tuple[str, int]]] = {
    "services": (
        (f"-A -t {VIP}:80 -s wlc", THERE),
        (f"-E -t {VIP}:81 -s wlc", THERE),
        (f"-D -u {VIP}:80", THERE),
        (f"-Z -t {VIP}:81", THERE),
        ("-A -s rr", HERE),
        (f"-A -t {VIP}:81 -u {VIP}:81 -s rr", HERE),
        (f"-A -t {VIP}:81 -s nosuch", THERE),
        (f"-A -t {VIP}:81 -s rr -b sh-port", HERE),
    ),
    "addresses": (
        (f"-A -t {VIP}:0 -s rr", HERE),
        (f"-A -t {VIP}:65536 -s rr", HERE),
        ("-A -t 192.0.2.300:81 -s rr", HERE),
        ("-A -f 0 -s rr", HERE),
        ("-A -f 4294967296 -s rr", HERE),
    ),
    "persistence": (
        (f"-A -t {VIP}:81 -s rr -o", HERE),
        (f"-A -t {VIP}:81 -s rr -p 0", HERE),
        (f"-A -t {VIP}:81 -s rr -p 2678401", HERE),
        ("-A -t [2001:db8::5]:80 -s rr -p 5 -M 0", HERE),
        ("-A -t [2001:db8::5]:80 -s rr -p 5 -M 129", HERE),
        (f"-A -u {VIP}:81 -s rr -p 5 --pe nosuch", THERE),
    ),
    "servers": (
        (f"-a -t {VIP}:81 -r {RIP}:81 -g", THERE),
        (f"-a -t {VIP}:80 -r {RIP}:80 -m", THERE),
        (f"-e -t {VIP}:80 -r 192.0.2.101:80 -g", THERE),
        (f"-d -t {VIP}:80 -r 192.0.2.101:80", THERE),
        (f"-a -t {VIP}:80 -r 224.0.0.1:80 -g", THERE),
        (f"-a -t {VIP}:80 -r 0.0.0.0:80 -g", THERE),
        (f"-a -t {VIP}:80 -r [2001:db8::7]:80 -m", HERE),
        (f"-a -t {VIP}:80 -r 192.0.2.101:80 -g -m", HERE),
    ),
    "weights": (
        (f"-a -t {VIP}:80 -r 192.0.2.101:80 -g -w -1", HERE),
        (f"-a -t {VIP}:80 -r 192.0.2.101:80 -g -w 2147483648", HERE),
        (f"-a -t {VIP}:80 -r 192.0.2.101:80 -g -w x", HERE),
    ),
    "thresholds": (
        (f"-a -t {VIP}:80 -r 192.0.2.101:80 -g -x 1 -y 2", THERE),
        (f"-e -t {VIP}:80 -r {RIP}:80 -g -x 1 -y 2", THERE),
    ),
    "tunnels": (
        (f"-a -t {VIP}:80 -r 192.0.2.101:80 -i --tun-type gue", HERE),
        (f"-a -t {VIP}:80 -r 192.0.2.101:80 -g --tun-type gre", HERE),
    ),
    "global": (
        ("--set 1 2", HERE),
        ("--set 1 2 2678401", HERE),
        ("--start-daemon backup --mcast-interface nosuch", THERE),
        ("--stop-daemon backup", THERE),
        ("-C extra", HERE),
    ),
}

_ACCEPTED: Mapping[str, Sequence[tuple[str, str]]] = {
    "defaults": (
        (f"-A -t {VIP}:81", f"-A -t {VIP}:81 -s wlc"),
        (f"-A -t {VIP}:81 -s rr -p", f"-A -t {VIP}:81 -s rr -p 360"),
        (f"-a -t {VIP}:80 -r 192.0.2.101", f"-a -t {VIP}:80 -r 192.0.2.101:80 -g -w 1"),
    ),
    "persistence": (
        (f"-A -t {VIP}:81 -s rr -p 2678400", f"-A -t {VIP}:81 -s rr -p 2678400"),
        (f"-A -t {VIP}:81 -s rr -M 255.255.255.0", f"-A -t {VIP}:81 -s rr"),
        (f"-A -t {VIP}:81 -s rr -p 5 -M 255.0.255.0", f"-A -t {VIP}:81 -s rr -p 5 -M 255.0.255.0"),
    ),
    "ports": (
        (f"-A -t {VIP}:0 -s rr -p 1", f"-A -t {VIP}:0 -s rr -p 1"),
        (f"-a -t {VIP}:80 -r 192.0.2.101:8080 -g", f"-a -t {VIP}:80 -r 192.0.2.101:80 -g -w 1"),
        (
            f"-a -t {VIP}:80 -r 192.0.2.101:8080 -i",
            f"-a -t {VIP}:80 -r 192.0.2.101:80 -i -w 1 --tun-type ipip",
        ),
        (f"-a -t {VIP}:80 -r 192.0.2.101:8080 -m", f"-a -t {VIP}:80 -r 192.0.2.101:8080 -m -w 1"),
        (
            f"-a -t {VIP}:80 -r [2001:db8::7]:80 -i",
            f"-a -t {VIP}:80 -r [2001:db8::7]:80 -i -w 1 --tun-type ipip",
        ),
    ),
    "weights": (
        (f"-e -t {VIP}:80 -r {RIP}:80 -g -w 0", f"-a -t {VIP}:80 -r {RIP}:80 -g -w 0"),
        (f"-e -t {VIP}:80 -r {RIP}:80 -g -w 65535", f"-a -t {VIP}:80 -r {RIP}:80 -g -w 65535"),
        (f"-e -t {VIP}:80 -r {RIP}:80 -g", f"-a -t {VIP}:80 -r {RIP}:80 -g -w 1"),
    ),
    "changes": (
        (f"-e -t {VIP}:80 -r {RIP}:80 -m", f"-a -t {VIP}:80 -r {RIP}:80 -m -w 1"),
        (f"-E -t {VIP}:80 -s wrr", f"-A -t {VIP}:80 -s wrr"),
    ),
    "ops-and-marks": (
        (f"-A -u {VIP}:81 -s rr -o", f"-A -u {VIP}:81 -s rr -o"),
        ("-A -f 81 -s rr -o", "-A -f 81 -s rr -o"),
        ("-A -f 81 -s rr", "-A -f 81 -s rr"),
    ),
}


@check(
    "configuration:refused:{group}",
    "every wrong command about {group} is refused by ipvsadm or the kernel, with the exit code and a reason,"
    " and changes nothing",
    each=[{"group": group} for group in _REFUSED],
)
def refused(bench: Bench, group: str) -> None:
    if group == "tunnels":
        must("tun-type" in bench.run("ipvsadm --help"), "this ipvsadm knows no tunnel types")
    _start(bench)
    commands = _REFUSED[group]
    said = "read -r said </tmp/lvs-said; echo $code $said"
    lines = [
        f"said=; ipvsadm {command} >/tmp/lvs-said 2>&1; code=$?; {said}; {TABLE}; echo {SPLIT}"
        for command, _ in commands
    ]
    before = bench.run(TABLE)
    played = bench.run("\n".join([*lines, "rm /tmp/lvs-said"])).split(f"{SPLIT}\n")
    for (command, code), text in zip(commands, played, strict=False):
        first, _, after = text.partition("\n")
        seen, _, reason = first.partition(" ")
        must(
            seen == str(code),
            f"'ipvsadm {command}': exit code {code} expected, {seen} seen",
            f"said: {reason}",
        )
        must(reason != "", f"'ipvsadm {command}' is refused without a reason")
        must(
            before == after,
            f"'ipvsadm {command}' has changed the table",
            f"before: {before}",
            f"after:  {after}",
        )


@check(
    "configuration:accepted:{group}",
    "every command about {group} at its limits or with something left out makes the rule that it should",
    each=[{"group": group} for group in _ACCEPTED],
)
def accepted(bench: Bench, group: str) -> None:
    for command, rule in _ACCEPTED[group]:
        _start(bench)
        code, said, table = _commands(bench, command)[0]
        must(code == 0, f"'ipvsadm {command}': exit code 0 expected, {code} seen", f"said: {said}")
        must(
            rule in table.splitlines(),
            f"'ipvsadm {command}': the rule '{rule}' is not in the table",
            *table.splitlines(),
        )


def _start(bench: Bench) -> None:
    """The table to start from: one service with one real server."""
    bench.run("ipvsadm -C; printf '%s\\n' " + " ".join(map(shlex.quote, _BASE)) + " | ipvsadm -R")


@check(
    "configuration:edit-service-keeps-servers",
    "-E changes a service and keeps its real servers; what -E leaves out is not kept but reset",
)
def edit_keeps(bench: Bench) -> None:
    found = _commands(
        bench, f"-A -t {VIP}:80 -s rr -p 60 -M 255.255.255.0", _BASE[1], f"-E -t {VIP}:80 -s wlc"
    )
    expected = f"-A -t {VIP}:80 -s wlc\n-a -t {VIP}:80 -r {RIP}:80 -g -w 3\n"
    must(found[2][2] == expected, "the table after -E", f"expected: {expected}", f"seen:     {found[2][2]}")


@check(
    "configuration:delete-service",
    "-D removes a service with its real servers and nothing else; -C removes all",
)
def delete(bench: Bench) -> None:
    found = _commands(bench, *_BASE, f"-A -u {VIP}:80 -s rr", f"-D -t {VIP}:80", "-C", "-C")
    must(found[3][:1] == (0,) and found[3][2] == f"-A -u {VIP}:80 -s rr\n", "after -D", f"seen: {found[3]}")
    must(found[4][0] == 0 and found[4][2] == "", "after -C", f"seen: {found[4]}")
    must(found[5][0] == 0, "-C of an empty table is no error", f"seen: {found[5]}")
