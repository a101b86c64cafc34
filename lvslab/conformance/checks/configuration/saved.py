"""A table saved and restored, `ipvsadm -S` and `-R`."""

from __future__ import annotations

import shlex
from dataclasses import replace

from lvslab.conformance.check import check
from lvslab.conformance.checks.configuration.table import RIP, VIP, difference, sorted_rules
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import (
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType


def _everything() -> tuple[VirtualService, ...]:
    """A table with every option that ipvsadm saves, and thresholds."""
    nat, dr, tun = PacketForwarding.MASQ, PacketForwarding.DR, PacketForwarding.TUN
    v6 = "2001:db8:7::"
    return (
        VirtualService(
            Protocol.TCP,
            VIP,
            80,
            scheduler=Scheduler.WRR,
            real_servers=(
                RealServer(RIP, 8080, nat, 5, 100, 50),
                RealServer("192.0.2.101", 80, dr, 0),
                RealServer("192.0.2.102", 80, tun),
                RealServer(
                    "192.0.2.103",
                    80,
                    tun,
                    tun_type=TunnelType.GUE,
                    tun_port=5555,
                    tun_csum=TunnelChecksum.REMCSUM,
                ),
                RealServer("192.0.2.104", 80, tun, tun_type=TunnelType.GRE, tun_csum=TunnelChecksum.CSUM),
                RealServer(f"{v6}9", 80, tun),
            ),
        ),
        VirtualService(
            Protocol.TCP,
            VIP,
            0,
            persistence_timeout=300,
            persistence_netmask="255.255.255.0",
            scheduler=Scheduler.RR,
        ),
        VirtualService(
            Protocol.UDP,
            VIP,
            53,
            ops=True,
            scheduler=Scheduler.RR,
            real_servers=(RealServer(RIP, 53, nat, 65535),),
        ),
        VirtualService(
            Protocol.TCP,
            f"{v6}1",
            443,
            scheduler=Scheduler.SH,
            scheduler_flags=(SchedulerFlag.SH_FALLBACK, SchedulerFlag.SH_PORT),
            real_servers=(RealServer(f"{v6}2", 443, dr), RealServer(f"{v6}3", 8443, nat, 7)),
        ),
        VirtualService(
            Protocol.UDP,
            f"{v6}1",
            53,
            persistence_timeout=60,
            persistence_netmask="64",
            scheduler=Scheduler.RR,
        ),
        VirtualService(
            Protocol.FWMARK, fwmark=7, scheduler=Scheduler.WLC, real_servers=(RealServer(RIP, 0, nat),)
        ),
        VirtualService(
            Protocol.FWMARK,
            fwmark=7,
            ipv6=True,
            scheduler=Scheduler.LC,
            real_servers=(RealServer(f"{v6}2", 0, nat),),
        ),
    )


@check(
    "configuration:save-restore",
    "what ipvsadm -S saves of a table with every option, ipvsadm -R restores to the same; only thresholds are"
    " lost on the way",
)
def save_restore(bench: Bench) -> None:
    table = _everything()
    bench.ipvsadm.restore(table)
    must(
        sorted_rules(bench.ipvsadm.save()) == sorted_rules(table),
        "the table is what was put in",
        *difference(table, bench.ipvsadm.save()),
    )
    text = bench.run(
        "ipvsadm -S -n >/tmp/lvs-saved; ipvsadm -C; ipvsadm -S -n; ipvsadm -R </tmp/lvs-saved; echo $?; rm"
        " /tmp/lvs-saved"
    )
    must(text == "0\n", "-C empties the table and -R exits with 0", f"seen: {text}")
    after = bench.ipvsadm.save()
    forgotten = tuple(
        replace(
            service,
            real_servers=tuple(
                replace(server, upper_threshold=0, lower_threshold=0) for server in service.real_servers
            ),
        )
        for service in table
    )
    must(
        sorted_rules(after) == sorted_rules(forgotten),
        "the table after -S, -C, -R",
        *difference(forgotten, after),
    )


@check(
    "configuration:restore-bad-line",
    "ipvsadm -R says what it refuses and goes on with the next line; its exit code is that of the last line"
    " alone",
)
def restore_bad(bench: Bench) -> None:
    good, bad = f"-A -t {VIP}:81 -s rr", f"-A -t {VIP}:82 -s nosuch"
    for lines, code in (((bad, good), 0), ((good, bad), 255)):
        text = bench.run(
            "printf '%s\\n' "
            + " ".join(map(shlex.quote, lines))
            + " | ipvsadm -R 2>&1; echo code $?; ipvsadm -S -n; ipvsadm -C"
        )
        must("not found" in text, "the refused line is told", f"seen: {text}")
        must(f"code {code}\n" in text, f"exit code {code} expected", f"seen: {text}")
        must(text.endswith(f"{good}\n"), "the good line is in the table, and nothing else", f"seen: {text}")
