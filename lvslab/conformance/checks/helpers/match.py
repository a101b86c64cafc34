"""Every option of the match `ipvs` of iptables, by the counters of rules.

Source: net/netfilter/xt_ipvs.c of Linux 6.1. The options look the connection up as a real server's
packet would, so they see a client's packet that has its new destination already, which is in
POSTROUTING.
"""

from __future__ import annotations

from collections.abc import Mapping

from lvslab.conformance.addresses import NETS
from lvslab.conformance.check import check
from lvslab.conformance.entries import chosen, tcp
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import EACH_VERSION
from lvslab.conformance.verdict import CheckSkipped

_CHAIN = "-t mangle -A POSTROUTING"


def _matches(bench: Bench, version: int, client: str, rules: Mapping[str, bool], port: int) -> None:
    """Send a client's packet through one rule for each words of the match; every one must count it,
    or not, as it says.
    """
    program = bench.iptables if version == 4 else bench.iptables.replace("iptables", "ip6tables")
    if bench.lab.director.run(f"{program} -t mangle -L -n >/dev/null").code != 0:
        raise CheckSkipped(f"kernel {bench.release} has no {program} table mangle")
    lines = [f"{program} {_CHAIN} -s {client} -m ipvs {words}" for words in rules]
    bench.apply("set -e\n" + "\n".join(lines), "\n".join(lines).replace(" -A ", " -D "))
    chosen(bench, tcp(client, port))
    listed = bench.run(f"{program} -t mangle -L POSTROUTING -v -x -n").splitlines()
    counts = [int(line.split()[0]) for line in listed[2:]][-len(rules) :]
    must(len(counts) == len(rules), "not every rule is listed", *listed)
    wrong = [
        f"-m ipvs {words}: {'a match' if right else 'no match'} expected, {count} packets counted"
        for (words, right), count in zip(rules.items(), counts, strict=True)
        if count != int(right)
    ]
    must(not wrong, wrong[0] if wrong else "", *wrong)


@check(
    "match:options:ipv{version}",
    "--vproto, --vaddr with and without a mask, --vport and --vmethod of -m ipvs match the packets of a"
    " connection"
    " of nat that fit, and with ! those that do not",
    tags=("iptables", "nat", "ipv{version}"),
    each=EACH_VERSION,
)
def options(bench: Bench, version: int) -> None:
    net, port, client = NETS[version], bench.port(), bench.client(version)
    bench.service(port=port, version=version, weights=(1,))
    near, far = (f"{net.vip}/24", "192.0.2.0/24") if version == 4 else (f"{net.vip}/64", "2001:db8:9::/64")
    rules = {
        "--ipvs": True,
        "! --ipvs": False,
        "--vproto tcp": True,
        "! --vproto tcp": False,
        "--vproto udp": False,
        "! --vproto udp": True,
        f"--vaddr {net.vip}": True,
        f"! --vaddr {net.vip}": False,
        f"--vaddr {net.server(1)}": False,
        f"! --vaddr {net.server(1)}": True,
        f"--vaddr {near}": True,
        f"--vaddr {far}": False,
        f"! --vaddr {near}": False,
        f"--vport {port}": True,
        f"! --vport {port}": False,
        f"--vport {port + 1}": False,
        f"! --vport {port + 1}": True,
        "--vmethod MASQ": True,
        "! --vmethod MASQ": False,
        "--vmethod GATE": False,
        "! --vmethod IPIP": True,
        f"--vproto tcp --vaddr {net.vip} --vport {port} --vmethod MASQ": True,
        f"--vproto tcp --vaddr {net.vip} --vport {port} --vmethod GATE": False,
    }
    _matches(bench, version, client, rules, port)


@check(
    "match:direction:ipv{version}",
    "with connection tracking --vdir ORIGINAL matches a client's packet and --vdir REPLY does not; without,"
    " neither"
    " does",
    tags=("iptables", "nat", "conntrack", "ipv{version}"),
    each=EACH_VERSION,
)
def direction(bench: Bench, version: int) -> None:
    port, client = bench.port(), bench.client(version)
    bench.service(port=port, version=version, weights=(1,))
    _matches(
        bench, version, client, {"--vdir ORIGINAL": False, "--vdir REPLY": False, "--vproto tcp": True}, port
    )
    program = bench.iptables if version == 4 else bench.iptables.replace("iptables", "ip6tables")
    rule = f"{program} {_CHAIN} -d {NETS[version].router} -m conntrack --ctstate NEW"
    bench.apply(rule, rule.replace(" -A ", " -D "))
    bench.sysctl("net.ipv4.vs.conntrack", 1)
    rules = {"--vdir ORIGINAL": True, "--vdir REPLY": False, "--vproto tcp": True}
    _matches(bench, version, bench.client(version), rules, port)


@check(
    "match:control:ipv{version}",
    "--vportctl matches the connections of a persistent client by the port of the template that controls"
    " them; a"
    " connection of another service has none",
    tags=("iptables", "nat", "persistence", "ipv{version}"),
    each=EACH_VERSION,
)
def control(bench: Bench, version: int) -> None:
    ports = bench.port(), bench.port()
    bench.service(port=ports[0], version=version, weights=(1,), persistence_timeout=300)
    bench.service(port=ports[1], version=version, weights=(1,))
    for port, persistent in zip(ports, (True, False), strict=True):
        rules = {
            f"--vportctl {port}": persistent,
            f"! --vportctl {port}": not persistent,
            f"--vportctl {port + 1}": False,
            "--vproto tcp": True,
        }
        _matches(bench, version, bench.client(version), rules, port)


@check(
    "match:direct:ipv{version}",
    "the options match the packets of a connection of dr as well, by the VIP and port that these still"
    " have; --vmethod"
    " tells it from nat",
    tags=("iptables", "dr", "ipv{version}"),
    each=EACH_VERSION,
)
def direct(bench: Bench, version: int) -> None:
    # ip_vs_conn_out_get compares the virtual end where the method is another than nat.
    net, port, client = NETS[version], bench.port(), bench.client(version)
    bench.service("dr", port=port, version=version, weights=(1,))
    rules = {
        "--ipvs": True,
        "! --ipvs": False,
        "--vproto tcp": True,
        "--vproto udp": False,
        f"--vaddr {net.vip}": True,
        f"--vaddr {net.server(1)}": False,
        f"--vport {port}": True,
        f"--vport {port + 1}": False,
        "--vmethod GATE": True,
        "--vmethod MASQ": False,
    }
    _matches(bench, version, client, rules, port)
