"""What a daemon makes of its files in a kernel with nothing of a lab: one guest, links that lead
nowhere, no servers but those that a case names, and the files as they are.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from lvslab.host.sandbox import PRIVATE_DIRECTORY
from lvslab.kernels import initramfs
from lvslab.kernels.machine import Guest
from lvslab.kernels.uml import UmlKernel
from lvslab.rehearse import farm_program
from tests.lab.conftest import in_sandbox

_TABLE_SECONDS = 60
_LAST_LINES = 20


@dataclass(frozen=True)
class Bare:
    """Files for a daemon.

    Attributes:
        daemon: "keepalived" or "ldirectord".
        files: path on the machine → text; the first is the daemon's own.
        lines: of the table that is waited for.
        zeros: so many of them with weight 0.
        links: that the files name.
        answers: what answers checks, as `lvslab.rehearse.farm_program` takes it, each at an address
            of the machine itself. Without any, checks hear nothing, and the table is what the
            daemon begins with.
    """

    daemon: str
    files: Mapping[str, str]
    lines: int
    zeros: int = 0
    links: tuple[str, ...] = ("eth0",)
    answers: tuple[dict[str, Any], ...] = field(default=())


def answer(address: str, port: int, speaks: str, **more: Any) -> dict[str, Any]:
    """An entry of `Bare.answers`."""
    return {
        "device": None,
        "address": address,
        "port": port,
        "protocol": "tcp",
        "speaks": speaks,
        "name": f"{address}:{port}",
        "pages": {},
        "certificate": None,
    } | more


def bare_tables(cases: Sequence[Bare]) -> list[list[str]]:
    """What `ipvsadm -Sn` prints for each, sorted; all in one guest, one after the other."""
    return list(in_sandbox(_tables, tuple(cases)))


def _tables(cases: Sequence[Bare]) -> list[list[str]]:
    directory = PRIVATE_DIRECTORY / "bare"
    guest = UmlKernel.installed().boot("bare", ["ip_vs", "dummy"], directory, directory.with_suffix(".log"))
    try:
        guest.wait_ready()
        guest.run("ip link set lo up").check("bare", "lo")
        return [_table(guest, number, case) for number, case in enumerate(cases)]
    finally:
        guest.close()


def _table(guest: Guest, number: int, case: Bare) -> list[str]:
    folder, program = guest.make_folder(f"case{number}"), Path(farm_program.__file__)
    inside = f"{initramfs.SHARE}/case{number}"
    lines = []
    for link in case.links:
        lines += [
            f"ip link add {link} type dummy && ip link set {link} up multicast on",
            f"sysctl -qw net.ipv6.conf.{link}.accept_dad=0 net.ipv6.conf.{link}.disable_ipv6=0",
        ]
    first = case.links[0]
    lines += [
        f"ip address add 203.0.113.1/24 dev {first} && ip route add default dev {first}",
        f"ip -6 address add 2001:db8::1/64 dev {first} nodad && ip -6 route add default dev {first}",
    ]
    for index, (path, text) in enumerate(case.files.items()):
        (folder / f"file{index}").write_text(text)
        lines += [
            f"mkdir -p {shlex.quote(str(PurePath(path).parent))}",
            f"cp {inside}/file{index} {shlex.quote(path)}",
        ]
    lines += [f"ip address add {own} dev lo" for own in {each["address"] for each in case.answers}]
    if case.answers:
        plan = [{"id": index} | each for index, each in enumerate(case.answers)]
        (folder / "farm.json").write_text(json.dumps(plan))
        (folder / program.name).write_text(program.read_text())
        # its commands come from a pipe that stays open for as long as it is to live
        lines += [
            f"mkfifo {inside}/orders; sleep 1000 >{inside}/orders & echo $! >{inside}/farm.pid",
            f"/usr/bin/python3 -I {inside}/{program.name} {inside}/farm.json <{inside}/orders"
            f" >{inside}/farm.log 2>&1 &",
            f"until grep -q started {inside}/farm.log; do sleep 0.1; done",
        ]
    main = shlex.quote(next(iter(case.files)))
    if case.daemon == "keepalived":
        pids = " ".join(f"--{name}={inside}/{name}" for name in ("pid", "checkers_pid", "vrrp_pid"))
        command = f"keepalived --dont-fork --log-console --no-syslog --use-file={main} {pids}"
    else:
        command = f"ldirectord -d {main} start"
    lines += [
        f"{command} >{inside}/log 2>&1 &",
        "daemon=$!",
        "for turn in $(seq 600); do",
        f" ipvsadm -Sn >{inside}/table",
        f" [ $(wc -l <{inside}/table) = {case.lines} ] && [ $(grep -c -e '-w 0' {inside}/table)"
        f" = {case.zeros} ] && break",
        " sleep 0.1",
        "done",
        "kill $daemon; wait $daemon",
        f"[ -e {inside}/farm.pid ] && kill $(cat {inside}/farm.pid)",
        "ipvsadm -C",
        *(f"ip link delete {link}" for link in case.links),
        f"cat {inside}/table",
    ]
    done = guest.run("\n".join(lines), timeout=3 * _TABLE_SECONDS)
    table = (folder / "table").read_text().splitlines()
    said = (folder / "log").read_text().splitlines()[-_LAST_LINES:]
    zeros = sum("-w 0" in line for line in table)
    assert (len(table), zeros) == (case.lines, case.zeros), f"{table}\n{done.out}\n" + "\n".join(said)
    return sorted(table)
