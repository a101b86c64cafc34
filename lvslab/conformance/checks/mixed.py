"""Services of one IP version with real servers of the other, which tunnels reach: every operation.

Sources: ip_vs_add_dest and ip_vs_start_estimator's neighbours in ip_vs_ctl.c of Linux 6.1 ("ipvs:
Pull out crosses_local_route_boundary logic", "ipvs: prevent mixing heterogeneous pools and
synchronization", 3.18).
"""

from __future__ import annotations

from lvslab.conformance.addresses import NETS
from lvslab.conformance.check import check
from lvslab.conformance.entries import chosen, entries, listing, must_choose, tcp
from lvslab.conformance.models.servers import Flow
from lvslab.conformance.packets import must
from lvslab.conformance.scheduling import Change, Rig
from lvslab.conformance.testbed import Bench
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService

_OTHER = {4: 6, 6: 4}
_EACH = [{"version": version, "servers": servers} for version, servers in _OTHER.items()]
_EXACT = [scheduler for scheduler in Scheduler if scheduler is not Scheduler.TWOS]


@check(
    "mixed:{scheduler}:ipv{servers}-servers",
    "{scheduler} chooses among IPv{servers} servers of an IPv{version} service as its model says, while"
    " servers are"
    " edited, removed and added again; their connections stay and count",
    tags=("{scheduler}", "tun", "ipv{version}"),
    each=[{"scheduler": scheduler, **each} for scheduler in _EXACT for each in _EACH],
)
def scheduling(bench: Bench, scheduler: Scheduler, version: int, servers: int) -> None:
    rig = Rig(bench, scheduler, (2, 1, 3), version=version, servers=servers)
    early: list[Flow] = rig.flows(12)
    rig.open("weights 2:1:3", early)
    rig.change(Change("edit", 2, 4), Change("edit", 1, 0))
    rig.open("weights 0:4:3", rig.flows(9))
    rig.change(Change("remove", 3))
    rig.open("without server 3", rig.flows(6))
    rig.change(Change("add", 3, 2), Change("edit", 1, 5))
    rig.must_count("when server 3 is back")
    rig.open("weights 5:4:2", rig.flows(9))
    rig.go_on("connections from the beginning", early)


@check(
    "mixed:refused:ipv{servers}-servers",
    "an IPv{servers} server of an IPv{version} service is refused in nat and dr, whose packets it could not"
    " get, and"
    " taken with a tunnel; one of the service's own version is taken in all three",
    tags=("configuration", "ipv{version}"),
    each=_EACH,
)
def refused(bench: Bench, version: int, servers: int) -> None:
    port = bench.port()
    service = bench.add(VirtualService(Protocol.TCP, NETS[version].vip, port))
    selector = " ".join(service.selector)
    ways = {"-m": False, "-g": False, "-i": True}
    for option, right in ways.items():
        for number, family, wanted in ((1, servers, right), (2, version, True)):
            server = RealServer(NETS[family].server(number), port, PacketForwarding.TUN).name
            done = bench.lab.director.run(f"ipvsadm -a {selector} -r {server} {option}")
            must(
                (done.code == 0) == wanted,
                f"ipvsadm -a -r {server} {option} ended with {done.code}",
                done.err,
            )
            if wanted:
                bench.run(f"ipvsadm -d {selector} -r {server}")
    must(not listing(bench, service.selector), "a server is left")


@check(
    "mixed:persistent:ipv{servers}-servers",
    "a persistent IPv{version} service keeps a client at its IPv{servers} server, and its template names"
    " that server;"
    " other clients are scheduled anew",
    tags=("persistence", "tun", "ipv{version}"),
    each=_EACH,
)
def persistent(bench: Bench, version: int, servers: int) -> None:
    port, client, other = bench.port(), bench.client(version), bench.client(version)
    _service(bench, version, servers, port, 300)
    places = chosen(bench, *(tcp(client, port, sport=40000 + number) for number in range(4)))
    must_choose(places, places[:1] * 4, "four connections of a client")
    must(chosen(bench, tcp(other, port)) != places[:1], "another client went to the same server")
    (template,) = entries(bench, client, templates=True)
    wanted = NETS[servers].server(places[0])
    must(template.destination.address == wanted, f"the template names {template.destination}, not {wanted}")


def _service(bench: Bench, version: int, servers: int, port: int, persistence: int = 0) -> VirtualService:
    tun, net = PacketForwarding.TUN, NETS[servers]
    pool = tuple(RealServer(net.server(number), port, tun) for number in (1, 2, 3))
    return bench.add(
        VirtualService(
            Protocol.TCP, NETS[version].vip, port, real_servers=pool, persistence_timeout=persistence
        )
    )


@check(
    "mixed:saved:ipv{servers}-servers",
    "what ipvsadm -S saves of an IPv{version} service with IPv{servers} servers, ipvsadm -R restores to the"
    " same, and"
    " -L shows each server with its own address",
    tags=("configuration", "ipv{version}"),
    each=_EACH,
)
def saved(bench: Bench, version: int, servers: int) -> None:
    port = bench.port()
    service = _service(bench, version, servers, port)
    names = {server.name for server in service.real_servers}
    seen = {line.server for line in listing(bench, service.selector)}
    must(
        seen == names, "the servers are not listed as they were added", f"{sorted(seen)}", f"{sorted(names)}"
    )
    before, _, after = bench.run(
        "ipvsadm -S -n >/tmp/mixed; cat /tmp/mixed; ipvsadm -C; echo ----; ipvsadm -R </tmp/mixed; ipvsadm"
        " -S -n;"
        " rm /tmp/mixed"
    ).partition("----\n")
    must(before.count(" -r ") == 3, "three servers were not saved", before)
    must(
        sorted(before.splitlines()) == sorted(after.splitlines()), "restored to another table", before, after
    )


@check(
    "mixed:sync:{order}",
    "connection sync and servers of another IP version than their service's exclude each other: {what}",
    tags=("sync", "configuration"),
    each=[
        {
            "order": "daemon-first",
            "what": "with a running daemon such a server is refused, one of its version is not",
        },
        {"order": "server-first", "what": "with such a server no daemon starts; without it, it does"},
    ],
)
def sync(bench: Bench, order: str, what: str) -> None:
    port, device = bench.port(), bench.lab.plan.director.interfaces[1].name
    service = bench.add(VirtualService(Protocol.TCP, NETS[6].vip, port))
    selector = " ".join(service.selector)
    mixed = f"{selector} -r {NETS[4].server(1)}:{port}"
    same = f"{selector} -r [{NETS[6].server(1)}]:{port}"
    start = f"ipvsadm --start-daemon backup --mcast-interface {device} --syncid 7"
    if order == "daemon-first":
        bench.apply(start, "ipvsadm --stop-daemon backup")
        must(
            bench.lab.director.run(f"ipvsadm -a {mixed} -i").code != 0,
            "a server of the other version was taken",
        )
        bench.run(f"ipvsadm -a {same} -i")
        return
    bench.run(f"ipvsadm -a {mixed} -i")
    must(bench.lab.director.run(start).code != 0, "the daemon started")
    bench.run(f"ipvsadm -d {mixed}")
    bench.apply(start, "ipvsadm --stop-daemon backup")
