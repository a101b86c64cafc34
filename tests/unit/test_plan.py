"""Plans: addresses, services and set-up steps, the commands that come out, and what is left out."""

from __future__ import annotations

import ipaddress
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvslab.errors import UsageError
from lvslab.ipvs.rules import parse_rules
from lvslab.ipvs.service import PacketForwarding, Protocol, Scheduler
from lvslab.modes.base import Role
from lvslab.plan import topology
from tests.unit.builders import MODES, plan


@settings(max_examples=25)
@given(
    mode=st.sampled_from(MODES),
    clients=st.integers(1, topology.MAX_CLIENTS),
    servers=st.integers(1, topology.MAX_SERVERS),
)
def test_macs_and_addresses_are_unique_and_each_lies_in_its_network(
    mode: str, clients: int, servers: int
) -> None:
    made = plan(mode, clients=clients, servers=servers)
    interfaces = [each for node in made.nodes for each in node.interfaces]
    for values in ([each.mac for each in interfaces], [each.name for each in interfaces]):
        assert len(set(values)) == len(values)
    addresses = [each.ip for each in interfaces] + [made.addresses.vip, *made.addresses.lips]
    assert len(set(addresses)) == len(addresses)
    assert all(
        ipaddress.ip_interface(each.address or "").network
        == ipaddress.ip_network(made.networks[each.network])
        for each in interfaces
    )
    # locally administered, not multicast
    assert all(int(each.mac[:2], 16) & 3 == 2 for each in interfaces)
    # The crafted client of verify has the first client's address plus 100: it must be nobody's.
    assert str(ipaddress.ip_address(made.node("c1").ip) + 100) not in addresses
    assert (len(made.of_role(Role.CLIENT)), len(made.of_role(Role.REAL_SERVER))) == (clients, servers)


@pytest.mark.parametrize(
    ("mode", "forwarding", "ports"),
    [
        ("nat", PacketForwarding.MASQ, [8080, 5301, 5201]),
        ("dr", PacketForwarding.DR, [80, 5300, 5201]),
        ("tun", PacketForwarding.TUN, [80, 5300, 5201]),
        ("fullnat", PacketForwarding.MASQ, [8080, 5301, 5201]),
        ("synproxy", PacketForwarding.MASQ, [8080, 5201]),
    ],
)
def test_virtual_services_forward_as_their_mode_does(
    mode: str, forwarding: PacketForwarding, ports: list[int]
) -> None:
    services = plan(mode, servers=3, scheduler=Scheduler.SH).services
    assert [service.real_servers[0].port for service in services] == ports
    assert all(server.forwarding == forwarding for service in services for server in service.real_servers)
    assert {service.scheduler for service in services} == {Scheduler.SH}
    assert all(len({server.address for server in service.real_servers}) == 3 for service in services)
    assert [service.protocol for service in services].count(Protocol.UDP) == (mode != "synproxy")
    assert [bool(service.persistence_timeout) for service in services] == [False] * (len(services) - 1) + [
        True
    ]


def test_weights_go_to_the_servers_in_their_order_and_one_where_none_is_given() -> None:
    assert [server.weight for server in plan(servers=3, weights=(5, 0)).services[0].real_servers] == [5, 0, 1]


def test_more_weights_than_servers_are_refused() -> None:
    with pytest.raises(UsageError, match="weights: 3 given for 2 real servers"):
        plan(weights=(1, 2, 3))


COMMANDS = {
    "nat": [
        "ip address add 10.0.0.10/32 dev lvs-eth0",
        "sysctl -w net.ipv4.ip_forward=1",
        "ip route add default via 10.0.1.1",
        "ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 1",
    ],
    "dr": [
        "ip address add 10.0.0.10/32 dev lo",
        "sysctl -w net.ipv4.conf.all.arp_ignore=1",
        "sysctl -w net.ipv4.conf.all.arp_announce=2",
        "ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.11:80 -g -w 1",
    ],
    "tun": [
        "ip address add 10.0.0.10/32 dev tunl0",
        "ip link set tunl0 up",
        "sysctl -w net.ipv4.conf.tunl0.rp_filter=0",
        "ip route add 10.0.2.0/24 via 10.0.0.254",
        "sysctl -w net.ipv4.ip_forward=1",
        "ipvsadm -a -t 10.0.0.10:80 -r 10.0.2.11:80 -i -w 1 --tun-type ipip",
    ],
    "fullnat": [
        "ip address add 10.0.1.201/24 dev lvs-eth1",
        "sysctl -w net.ipv4.vs.conntrack=1",
        (
            "iptables -t nat -A POSTROUTING -m ipvs --vproto udp --vaddr 10.0.0.10 --vport 5300 "
            "-j SNAT --to-source 10.0.1.201-10.0.1.202"
        ),
    ],
    "synproxy": [
        "sysctl -w net.netfilter.nf_conntrack_tcp_loose=0",
        "iptables -t raw -A PREROUTING -d 10.0.0.10 -p tcp --dport 80 --syn -j CT --notrack",
        "iptables -A INPUT -d 10.0.0.10 -p tcp -m state --state INVALID -j DROP",
        "sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'",
    ],
}


@pytest.mark.parametrize("mode", MODES)
def test_the_commands_of_a_plan_are_what_one_would_type(mode: str) -> None:
    lines = plan(mode).commands()
    assert [line for line in COMMANDS[mode] if line not in lines] == []
    assert "ip address add 10.0.0.1/24 dev lvs-eth0" in lines and "ip link set c1-eth0 up" in lines
    assert [line for line in lines if line.startswith("### ")][:2] == [
        "### c1 (client)",
        "### lvs (director)",
    ]
    checked = subprocess.run(
        ["sh", "-n"], input="\n".join(lines), text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("mode", MODES)
def test_the_services_among_the_commands_are_read_back_as_planned(mode: str) -> None:
    made = plan(mode)
    rules = "\n".join(
        line.removeprefix("ipvsadm ") for line in made.commands() if line.startswith("ipvsadm ")
    )
    assert tuple(parse_rules(rules)) == made.services


def test_every_command_belongs_to_the_node_under_whose_heading_it_stands() -> None:
    lines = plan("tun").commands()
    server = lines[lines.index("### rs1 (real server)") : lines.index("### rs2 (real server)")]
    assert "ip address add 10.0.2.11/24 dev rs1-eth0" in server and "ip link set tunl0 up" in server
    assert not any("ipvsadm" in line or "rs2" in line for line in server)


# -- leaving steps out -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "step", "gone"),
    [
        ("dr", "arp", "sysctl -w net.ipv4.conf.all.arp_ignore=1"),
        ("dr", "vip-on-lo", "ip address add 10.0.0.10/32 dev lo"),
        ("nat", "ip-forward", "sysctl -w net.ipv4.ip_forward=1"),
        ("nat", "vip", "ip address add 10.0.0.10/32 dev lvs-eth0"),
        ("nat", "gateway", "ip route add default via 10.0.1.1"),
        ("tun", "rp-filter", "sysctl -w net.ipv4.conf.tunl0.rp_filter=0"),
        ("tun", "tunl0", "ip link set tunl0 up"),
        ("synproxy", "window-scale", "sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'"),
        ("fullnat", "conntrack", "sysctl -w net.ipv4.vs.conntrack=1"),
    ],
)
def test_a_step_that_is_left_out_is_gone_and_nothing_else(mode: str, step: str, gone: str) -> None:
    whole, part = plan(mode).commands(), plan(mode, without=[step]).commands()
    assert gone in whole and gone not in part
    rest = iter(whole)
    assert all(line in rest for line in part) and len(whole) - len(part) < 12


@pytest.mark.parametrize("mode", MODES)
def test_an_unknown_step_cannot_be_left_out_and_the_known_ones_are_named(mode: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(mode, without=["spoon"])
    assert str(caught.value).startswith(
        f"mode '{mode}' has no set-up step 'spoon' to leave out; its steps: vip, "
    )
    assert "gateway" in str(caught.value)
