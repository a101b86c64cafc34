"""Plans: which kernel every node gets and why, what is refused with which words, and the commands
that come out.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import MODES
from hypothesis import given, settings
from hypothesis import strategies as st

from lvslab.errors import CannotError, UsageError
from lvslab.ipvs.rules import parse_rules
from lvslab.ipvs.service import PacketForwarding, Protocol, Scheduler
from lvslab.kernels.kinds import HOST
from lvslab.kernels.needs import NEEDS, KernelFacts, Kernels, Need, any_kernel, modules_for
from lvslab.modes import mode_named
from lvslab.modes.base import ReplyPath, Role
from lvslab.plan import topology
from lvslab.plan.files import shipped_files
from lvslab.plan.plan import LabPlan, make_plan, plan_lab, union_of_needs
from lvslab.plan.topology import LvsTopo

UML = "uml"


def facts(kind: str, *met: Need, iptables: str | None = "iptables-legacy") -> KernelFacts:
    unmet = {need: f"no {need} here" for need in Need if need not in met}
    return KernelFacts(kind, f"6.1-{kind}", None, frozenset(met), unmet, iptables)


def kernels(*found: KernelFacts, **absent: str) -> Kernels:
    return Kernels({each.kind: each for each in found}, absent)


POOR_HOST = kernels(facts(HOST, Need.NETEM), facts(UML, *Need))


def plan(mode: str = "nat", kernels: Kernels | None = None, **options: Any) -> LabPlan:
    return plan_lab(mode_named(mode), kernels or any_kernel(), **options)


def placed(made: LabPlan) -> dict[str, str]:
    return {node.name: node.kernel for node in made.nodes}


def refused(build: Callable[[LvsTopo], None], mode: str = "nat", **attributes: Any) -> str:
    """What is said of a topology of the user's own."""
    topo = type("Own", (LvsTopo,), {"reply_path": ReplyPath.DIRECTOR, "build": build, **attributes})()
    with pytest.raises(UsageError) as caught:
        make_plan(mode_named(mode), "own", topo, any_kernel())
    return str(caught.value)


# -- placement -------------------------------------------------------------------------------------


def test_nodes_stay_on_the_host_when_it_has_what_they_need() -> None:
    made = plan(kernels=kernels(facts(HOST, Need.IP_VS), facts(UML, *Need)))
    assert set(placed(made).values()) == {HOST}
    assert made.director.why == "needs ip_vs" and made.node("c1").why == "needs nothing special"


def test_only_nodes_whose_needs_the_host_lacks_get_a_guest() -> None:
    made = plan(kernels=POOR_HOST)
    assert placed(made) == {"c1": HOST, "lvs": UML, "rs1": HOST, "rs2": HOST}
    assert made.director.why == "needs ip_vs, which kernel 'host' (6.1-host) lacks ip_vs (no ip_vs here)"
    assert placed(plan("tun", POOR_HOST)) == {"c1": HOST, "lvs": UML, "gw": HOST, "rs1": UML, "rs2": UML}


def test_the_user_chooses_the_directors_kernel_and_nobody_elses() -> None:
    made = plan(director_kernels=[UML])
    assert placed(made) == {"c1": HOST, "lvs": UML, "rs1": HOST, "rs2": HOST}
    assert made.director.why == "chosen by name"


def test_a_chosen_kernel_that_lacks_something_is_refused_and_not_replaced() -> None:
    with pytest.raises(CannotError) as caught:
        plan("fullnat", POOR_HOST, director_kernels=[HOST])
    assert (
        str(caught.value)
        == "director of mode 'fullnat': no kernel for it here: kernel 'host' (6.1-host) lacks ip_vs (no ip_vs"
        " here); xt_ipvs (no xt_ipvs here); see: lvslab check"
    )


def test_without_any_fitting_kernel_every_kernels_lack_is_said() -> None:
    with pytest.raises(CannotError) as caught:
        plan(
            "tun",
            kernels(
                facts(HOST, Need.IP_VS), uml="linux.uml: not installed; run: apt-get install user-mode-linux"
            ),
        )
    message = str(caught.value)
    assert message.startswith("real server of mode 'tun'") and "lacks ipip (no ipip here)" in message
    assert "uml: linux.uml: not installed" in message and message.endswith("see: lvslab check")


def test_a_kernel_that_was_not_looked_at_is_said_to_be_so() -> None:
    with pytest.raises(CannotError, match="uml: not tried"):
        plan(kernels=kernels(facts(HOST)))


def test_an_emulated_kernel_is_taken_only_when_it_was_asked_for_or_tried() -> None:
    with pytest.raises(CannotError) as caught:
        plan(kernels=kernels(facts(HOST), facts(UML)))
    assert "qemu" not in str(caught.value)  # nobody asked for it
    tried = kernels(facts(HOST), facts(UML), facts("qemu", *Need))
    assert plan(kernels=tried).director.kernel == "qemu"
    assert (
        plan(kernels=kernels(facts(HOST), facts(UML, *Need), facts("qemu", *Need))).director.kernel == "uml"
    )
    with pytest.raises(CannotError, match="qemu: no tap driver"):
        plan(kernels=kernels(facts(HOST), facts(UML), qemu="no tap driver"), director_kernels=["qemu"])


def test_a_comparison_needs_in_every_role_what_any_of_its_modes_needs() -> None:
    union = union_of_needs([mode_named(mode) for mode in MODES])
    assert union == {
        Role.DIRECTOR: {Need.IP_VS, Need.IPVS_SNAT, Need.SYNPROXY},
        Role.REAL_SERVER: {Need.IPIP},
    }
    assert union_of_needs([]) == {}
    assert union_of_needs([mode_named("nat"), mode_named("dr")]) == {Role.DIRECTOR: {Need.IP_VS}}


def test_a_comparison_places_every_role_alike_in_all_its_modes() -> None:
    alike = [mode_named(mode) for mode in MODES]
    roles = [
        {
            node.role: node.kernel
            for node in plan(mode, POOR_HOST, alike=alike).nodes
            if node.role != Role.ROUTER
        }
        for mode in MODES
    ]
    assert all(each == roles[0] for each in roles) and roles[0][Role.REAL_SERVER] == UML


@given(
    host=st.sets(st.sampled_from(Need)),
    uml=st.sets(st.sampled_from(Need)),
    needs=st.sets(st.sampled_from(Need)),
)
def test_a_kernel_is_the_cheapest_that_has_everything_or_none(
    host: set[Need], uml: set[Need], needs: set[Need]
) -> None:
    choice = kernels(facts(HOST, *host), facts(UML, *uml))
    if needs <= host or needs <= uml:
        assert choice.choose(frozenset(needs), None, "node")[0] == (HOST if needs <= host else UML)
    else:
        with pytest.raises(CannotError) as caught:
            choice.choose(frozenset(needs), None, "node")
        assert all(f"no {need} here" in str(caught.value) for need in (needs - host) | (needs - uml))


def test_the_modules_of_a_guest_are_those_of_its_needs_and_its_scheduler() -> None:
    director = plan("synproxy", POOR_HOST, scheduler=Scheduler.WLC).director
    assert set(modules_for(director.needs)) <= set(director.modules) and "ip_vs_wlc" in director.modules
    assert len(set(director.modules)) == len(director.modules)
    assert plan("tun", POOR_HOST).node("rs1").modules == NEEDS[Need.IPIP].modules
    assert plan("nat", POOR_HOST).node("rs1").modules == ()


def test_the_iptables_variant_is_the_directors_kernels_own() -> None:
    both = kernels(facts(HOST, *Need, iptables="iptables-nft"), facts(UML, *Need))
    assert plan("fullnat", both).iptables == {"lvs": "iptables-nft"}
    assert plan("fullnat", both, director_kernels=[UML]).iptables == {"lvs": "iptables-legacy"}
    assert plan("nat", both).iptables == {"lvs": None}


# -- what a plan holds -----------------------------------------------------------------------------


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


# -- modes and topologies --------------------------------------------------------------------------

FITS = {
    "nat": {"nat", "synproxy"},
    "synproxy": {"nat", "synproxy"},
    "dr": {"dr", "tun"},
    "tun": {"dr", "tun"},
    "fullnat": {"fullnat"},
}
REASONS = {
    "nat": "NAT needs every reply to pass the director",
    "synproxy": "SYNPROXY needs every reply to pass the director",
    "dr": "in DR the real servers themselves answer the client",
    "tun": "in TUN the real servers themselves answer the client",
    "fullnat": "FullNAT needs local addresses of the director",
}


@pytest.mark.parametrize("where", MODES)
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_works_in_a_topology_or_is_refused_with_the_reason(mode: str, where: str) -> None:
    if mode in FITS and where in FITS[mode]:
        assert plan(mode, topology_name=where).topology == where
        return
    with pytest.raises(UsageError) as caught:
        plan(mode, topology_name=where)
    message = str(caught.value)
    assert (
        message.startswith(f"mode '{mode}': ")
        and f"topology '{where}'" in message
        and REASONS[mode] in message
    )
    advised = message.partition("or one of the modes: ")[2].split(", ")
    assert f"use --topology {mode}" in message and advised == [each for each in MODES if where in FITS[each]]


@pytest.mark.parametrize("mode", ["nat", "NAT", "FullNAT"])
def test_modes_are_found_in_any_case(mode: str) -> None:
    assert mode_named(mode).name == mode.lower()


def test_an_unknown_mode_is_refused_with_the_choice() -> None:
    with pytest.raises(
        UsageError, match="mode 'natt': no such forwarding mode; choose from: nat, dr, tun, fullnat, synproxy"
    ):
        mode_named("natt")


# -- wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, 51, 1000, True, "2", 1.5])
@pytest.mark.parametrize("what", ["clients", "servers"])
def test_a_wrong_number_of_nodes_is_refused_by_name(what: str, count: object) -> None:
    with pytest.raises(UsageError, match=f"^{what}: {count!r} is not a number from 1 to 50"):
        plan(**{what: count})


def test_an_unknown_topology_is_refused_with_the_shipped_ones() -> None:
    with pytest.raises(
        UsageError,
        match=r"topology 'star': no such topology or file; shipped: .*\bdr, fullnat, nat, .*\btun\b",
    ):
        plan(topology_name="star")


def test_a_parameter_that_a_topology_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(
        UsageError, match="topology 'nat' has no parameter 'colour'; it has: clients, servers"
    ):
        topology.load("nat", shipped_files("topologies"), {"colour": 3})


def _two_arms(topo: LvsTopo) -> None:
    topo.addSwitch("s1")
    topo.addSwitch("s2")
    topo.add_clients(1, "s1")
    topo.add_real_servers(1, "s2", "10.0.1.0/24", gateway="10.0.1.1")


def _with_director(
    topo: LvsTopo, name: str = "lvs", outside: str = "10.0.0.1/24", inside: str = "10.0.1.1/24"
) -> None:
    topo.add_node(name, Role.DIRECTOR)
    topo.attach(name, "s1", outside)
    topo.attach(name, "s2", inside)


def test_a_topology_without_a_director_is_refused() -> None:
    assert refused(_two_arms) == "topology 'own': has no director; a lab needs at least one"


def test_a_topology_with_three_directors_is_refused_by_their_names() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        _with_director(topo, "lvs2", "10.0.0.2/24", "10.0.1.2/24")
        _with_director(topo, "lvs3", "10.0.0.3/24", "10.0.1.3/24")

    assert "has 3 directors (lvs, lvs2, lvs3)" in refused(build)


def test_a_topology_without_clients_or_servers_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        topo.addSwitch("s1")
        topo.addSwitch("s2")
        _with_director(topo)

    assert refused(build) == "topology 'own': has no client; a lab needs at least one"


def test_a_node_without_a_role_is_refused_by_name() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        topo.addHost("spare")

    assert refused(build) == "topology 'own': node 'spare' has no role; add it with add_node(name, Role.…)"


def test_hosts_that_are_linked_directly_are_refused_by_name() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        topo.addLink("c1", "lvs")

    message = refused(build)
    assert (
        "'c1'" in message
        and "'lvs'" in message
        and "are linked directly; put a switch between them" in message
    )


def test_a_node_that_hangs_in_the_air_is_refused_by_name() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)
        topo.add_node("gw", Role.ROUTER)

    assert refused(build) == "topology 'own': 'gw' is not linked to any switch; attach it"


@pytest.mark.parametrize("address", ["10.0.0.300/24", "10.0.0.1/33", "lvs/24", "10.0.0/24"])
def test_an_address_that_is_none_is_refused_with_its_node(address: str) -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo, outside=address)

    assert (
        refused(build)
        == f"topology 'own': 'lvs' has the address '{address}', which is none; write it as 10.0.0.1/24"
    )


@pytest.mark.parametrize(
    ("address", "other"), [("10.0.0.101/24", "c1"), ("10.0.0.10/24", "the virtual address")]
)
def test_an_address_given_twice_is_refused_with_both_owners(address: str, other: str) -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo, outside=address)

    message = refused(build)
    assert f"address {address[:-3]} belongs to " in message and "lvs" in message and other in message


def test_a_local_address_that_is_taken_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo)

    message = refused(build, "fullnat", reply_path=ReplyPath.NONE, local_addresses=("10.0.1.11",))
    assert "address 10.0.1.11 belongs to rs1 and a local address" in message


def test_a_director_that_the_clients_cannot_reach_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        topo.add_node("lvs", Role.DIRECTOR)
        topo.attach("lvs", "s2", "10.0.1.1/24")

    assert "director 'lvs' has no interface in the clients' network; attach it there" in refused(build)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "defines no topology; give it a dictionary `topos"),
        ("topos = {'mine': int}\n", "topology 'mine' is not a subclass of lvslab.plan.topology.LvsTopo"),
        ("topos = {\n", "line 1: '{' was never closed"),
        ("\n\nraise RuntimeError('no luck')\n", "line 3: RuntimeError: no luck"),
    ],
)
def test_a_file_that_is_no_topology_is_refused_with_file_and_cause(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        topology.load(str(path), {}, {})
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_a_topology_file_of_ones_own_is_planned_like_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(shipped_files("topologies")["nat"].read_text())
    made = plan(topology_name=str(path), servers=4)
    assert made.topology == "nat" and len(made.addresses.rips) == 4


# -- gaps ------------------------------------------------------------------------------------------


def test_a_node_outside_its_switchs_subnet_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        _with_director(topo, inside="10.9.9.1/24")

    assert "10.0.1.11/24 on 's2', which is 10.9.9.0/24" in refused(build)


def test_a_node_without_an_address_is_refused() -> None:
    def build(topo: LvsTopo) -> None:
        _two_arms(topo)
        topo.add_node("lvs", Role.DIRECTOR)
        topo.addLink("s1", "lvs")
        topo.addLink("s2", "lvs")

    assert "lvs" in refused(build)
