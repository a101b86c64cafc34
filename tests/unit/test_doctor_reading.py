"""Reading what machines say: the script changes nothing, and every part is understood."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.doctor import script
from lvslab.doctor.evidence import Evidence, Machine
from lvslab.doctor.netfilter import rules, source_addresses, source_nat, translated_ports
from lvslab.ipvs.listings import Counters
from lvslab.ipvs.proc import read_table, read_weights
from lvslab.ipvs.service import PacketForwarding, Protocol, VirtualService
from lvslab.modes.base import Role
from lvslab.reading.network import Address, Link, Neighbour
from tests.unit.doctor_evidence import COAP, VIP, found, recorded, with_datagrams


def test_the_reading_script_changes_nothing() -> None:
    """Every command of it only shows something, and nothing loads a module: ipvsadm and
    iptables-save do so where none is loaded.
    """
    lines = [line.strip() for line in script.reading(director=True).splitlines()]
    programs = {
        line.split()[0] for line in lines if not line.startswith(("echo", "PATH=", "exit", "END", "if", "fi"))
    }
    assert programs == {"grep", "ip", "ipvsadm", "address", "route", "rule", "neigh", "sleep", "wait"}
    assert all(line.split()[1] in ("-S", "-L") for line in lines if line.startswith("ipvsadm"))
    assert all(
        line.split()[1] in ("show", "get")
        for line in lines
        if line.startswith(("address", "route", "rule", "neigh"))
    )
    first = next(number for number, line in enumerate(lines) if line.startswith("ipvsadm"))
    assert "if [ -e /proc/net/ip_vs ]; then" in lines[:first]
    assert lines[:first].count("fi") == 1  # of the question whether packets were counted
    assert all("-save" in line for line in lines if "tables" in line)
    asked = [
        line
        for line in script.asking([("", VIP), ("10.0.1.11", "10.0.0.101")]).splitlines()
        if line.startswith("route")
    ]
    assert asked == ["route get 10.0.0.10", "route get 10.0.0.101 from 10.0.1.11"]


_PER_CPU = """\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        0        0        0                0                0
  A        0        {}        0                0                0
  ~        0        0        0                0                0

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        0        0                0                0
"""


@pytest.mark.parametrize("packets", [0, 16])
def test_counters_are_read_two_seconds_after_connections_once_there_were_packets(
    packets: int, tmp_path: Path
) -> None:
    """The kernel shows them as late. The programs are stand-ins that tell in which order they were
    called; the waiting one tells it when all others have been called that may be before it is over.
    """
    calls, counted = tmp_path / "calls", tmp_path / "percpu"
    counted.write_text(_PER_CPU.format(packets))
    programs = {
        "ipvsadm": f'echo "$*" >>{calls}',
        "sleep": f"until grep -q daemon {calls}; do :; done; echo slept $1 >>{calls}",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    text = script.reading(director=True).replace("/proc/net/ip_vs_stats_percpu", str(counted))
    text = text.replace("[ -e /proc/net/ip_vs ]", "true").replace(
        "PATH=$PATH", f"PATH={tmp_path}:/usr/bin:/bin"
    )
    subprocess.run(["/bin/sh"], input=text, capture_output=True, text=True, timeout=120, check=True)
    order = [line.split()[-1] if line.startswith("-") else line for line in calls.read_text().splitlines()]
    waited = ["slept 2"] if packets else []
    assert order == ["-n", "--persistent-conn", "--timeout", "--daemon", *waited, "--exact"]


def test_the_kernels_own_table_is_read() -> None:
    services, active = read_table(
        [
            "IP Virtual Server version 1.2.1 (size=4096)",
            "UDP  0A00000A:0035 rr ops",
            "  -> 0A00000B:0035      Route   1      0          7         ",
            "TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 wlc",
            "  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0050      Tunnel  2      1          0         ",
            "FWM  00000050 rr persistent 300 FFFFFFFF",
        ]
    )
    assert [each.name for each in services] == ["UDP 10.0.0.10:53", "TCP [fd00::1]:80", "FWM 80"]
    assert (services[0].ops, services[1].real_servers[0].forwarding, services[2].persistence_timeout) == (
        True,
        PacketForwarding.TUN,
        300,
    )
    assert active == {("UDP 10.0.0.10:53", "10.0.0.11:53"): 7, ("TCP [fd00::1]:80", "[fd00::2]:80"): 1}


def test_rules_of_source_nat_are_understood() -> None:
    service = VirtualService(Protocol.TCP, VIP, 80)

    def nat(*lines: str) -> Machine:
        return Machine("lvs", Role.DIRECTOR, rules=tuple(f"nat -A POSTROUTING {line}" for line in lines))

    def fits(*lines: str) -> bool:
        return source_nat(nat(*lines), service, "10.0.0.101", "10.0.1.11") is not None

    assert fits("-j MASQUERADE") and fits(
        "-m ipvs --vaddr 10.0.0.10/32 --vport 80 -j SNAT --to-source 10.0.1.1"
    )
    assert fits("-s 10.0.0.0/24 -j MASQUERADE") and not fits("-s 10.0.1.0/24 -j MASQUERADE")
    assert not fits("! -s 10.0.0.0/24 -j MASQUERADE") and not fits("-m ipvs --vproto 17 -j MASQUERADE")
    assert (
        not fits("-m ipvs --vaddr 10.0.0.20/32 -j MASQUERADE")
        and not fits("-m ipvs --vport 443 -j MASQUERADE")
        and not fits("-j ACCEPT")
    )
    (rule,) = rules(nat("-p tcp -j SNAT --to-source 10.0.1.201-10.0.1.204:40000-40031"), "nat")
    assert (translated_ports(rule), source_addresses(rule)) == (
        4 * 32,
        [f"10.0.1.{host}" for host in range(201, 205)],
    )
    (whole,) = rules(nat("-j SNAT --to-source 10.0.1.201"), "nat")
    assert translated_ports(whole) is None


def test_addresses_are_placed_on_links() -> None:
    links = (
        Link("lo", addresses=(Address(VIP, 32, "host"),)),
        Link("eth0", addresses=(Address("10.0.0.11", 24),)),
    )
    server = Machine("rs1", Role.REAL_SERVER, links=links, neighbours=(Neighbour(VIP, "", "eth0", "FAILED"),))
    assert server.has(VIP) and not server.has("10.0.0.12")
    assert server.on_link("10.0.0.101") == links[1] and server.on_link("10.0.9.1") is None


def test_counters_of_a_lopsided_service_tell_that_a_sender_sticks() -> None:
    service = replace(
        COAP, port=9000, real_servers=tuple(replace(each, port=9000) for each in COAP.real_servers)
    )

    def counted(conns: int, packets: int) -> Evidence:
        counters = Counters(conns=conns, in_packets=packets, out_packets=0, in_bytes=0, out_bytes=0)
        stats = {(service.name, ""): counters, (service.name, "10.0.1.11:9000"): counters}
        return with_datagrams(recorded("nat"), service, stats=stats)

    assert found(counted(1, 50)) == ["udp-sticks"]
    assert found(counted(25, 50)) == [], "each sender asks once or twice"


def test_weights_have_the_names_that_ipvsadm_gives() -> None:
    table = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A00000A:0050 wrr
  -> 0A00010B:1F90      Masq    70000  3          5
UDP  [fd00:0000:0000:0000:0000:0000:0000:000a]:0035 rr
  -> [fd00:0000:0000:0000:0000:0000:0000:0001]:0035      Route   0      0          0
FWM  00000007 rr persistent 360 FFFFFFFF
  -> 0A00010C:0000      Route   2      0          0
"""
    assert read_weights(table.splitlines()) == {
        ("TCP 10.0.0.10:80", "10.0.1.11:8080"): 70000,
        ("UDP [fd00::a]:53", "[fd00::1]:53"): 0,
        ("FWM 7", "10.0.1.12:0"): 2,
        ("FWM 7 IPv6", "10.0.1.12:0"): 2,
    }
