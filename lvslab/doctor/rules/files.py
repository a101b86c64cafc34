"""Configuration files beside the table: what was wanted, and what stands there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.doctor.finding import Certainty, Finding
from lvslab.ipvs.service import PacketForwarding, RealServer, VirtualService
from lvslab.reading.configured import Pool
from lvslab.runs.words import plural


def pools(director: Machine) -> Iterator[tuple[str, Pool]]:
    """The pools of its configuration files, each with the daemon that reads it."""
    for daemon, file in (("keepalived", director.keepalived), ("ldirectord", director.ldirectord)):
        for pool in file.pools if file else ():
            yield daemon, pool


def _wanted(director: Machine) -> Iterator[tuple[str, Pool, VirtualService]]:
    for daemon, pool in pools(director):
        for service in pool.services:
            yield daemon, pool, service


def _present(director: Machine, wanted: VirtualService) -> VirtualService | None:
    services = director.ipvs.services if director.ipvs else ()
    return next((service for service in services if service.name == wanted.name), None)


def _place(director: Machine, pool: Pool) -> str:
    return f"{director.name}: {pool.file}:{pool.line}: {pool.name}"


def server_not_in_file(evidence: Evidence) -> Iterator[Finding]:
    """A server that left the file and stayed in the table: nobody looks after it any more."""
    for director in evidence.directors:
        for daemon, pool, wanted in _wanted(director):
            present = _present(director, wanted)
            named = {server.name for server in wanted.real_servers}
            sorry = pool.sorry.address if pool.sorry else ""
            stale = [
                server
                for server in (present.real_servers if present else ())
                if server.name not in named and server.address != sorry
            ]
            for server in stale:
                yield Finding(
                    "server-not-in-file",
                    f"{wanted.name} still has the real server {server.name} with weight {server.weight},"
                    f" which {daemon}'s file does not name: nothing checks it, and it keeps its share and its"
                    " remembered clients.",
                    (
                        _place(director, pool),
                        f"{director.name}: {wanted.name} -> {server.name} {server.forwarding.value} weight"
                        f" {server.weight}",
                    ),
                    (
                        f"{director.name}# ipvsadm -d {' '.join(wanted.selector)} -r {server.name}",
                        f"{director.name}# sysctl -w net.ipv4.vs.expire_nodest_conn=1",
                        f"then find out in {daemon}'s log why its last reload has left the server there",
                    ),
                )


def weight_not_as_in_file(evidence: Evidence) -> Iterator[Finding]:
    """A weight that a reload has not taken over. Weight 0 is what a failed check makes of a server
    that is to be inhibited.
    """
    for director in evidence.directors:
        for daemon, pool, wanted in _wanted(director):
            present = _present(director, wanted)
            if present is None or _has_dynamic_weights(pool):
                continue
            weights = {server.name: server.weight for server in present.real_servers}
            for server in wanted.real_servers:
                weight = weights.get(server.name, server.weight)
                if weight in (server.weight, 0):
                    continue
                yield Finding(
                    "weight-not-as-in-file",
                    f"{server.name} of {wanted.name} has weight {weight} in the table and {server.weight} in"
                    f" {daemon}'s file: the last change of the file was not taken over.",
                    (
                        _place(director, pool),
                        f"{director.name}: {wanted.name} -> {server.name} weight {weight}",
                    ),
                    (
                        f"{director.name}# ipvsadm -e {' '.join(wanted.selector)} -r {server.name}"
                        f" {server.forwarding.option} -w {server.weight}",
                        f"{daemon} reads a changed file when it is told to: {_reload(director, daemon)}",
                    ),
                )


def _has_dynamic_weights(pool: Pool) -> bool:
    checks = [check for server in pool.servers for check in server.checks]
    return any({"misc_dynamic", "dynamic"} & set(check.words) for check in checks)


def _reload(director: Machine, daemon: str) -> str:
    if daemon == "ldirectord":
        return "autoreload = yes, or ldirectord FILE reload"
    return f"{director.name}# kill -HUP $(cat /run/keepalived.pid)"


def quorum_above_weights(evidence: Evidence) -> Iterator[Finding]:
    """A quorum that all servers together do not reach: the sorry server stays for ever, or the
    daemon lowers it (keepalived 2.2 does, and says so).
    """
    for director in evidence.directors:
        for _, pool in pools(director):
            total = sum(each.server.weight for each in pool.servers)
            if not pool.servers or pool.quorum <= total:
                continue
            yield Finding(
                "quorum-above-weights",
                f"The quorum of {pool.name} is {pool.quorum}, and all its servers together weigh {total}: it"
                f" can never be reached. keepalived 2.2 lowers it to {total} and says so when it starts;"
                " older releases never run quorum_up again and keep the sorry server.",
                (_place(director, pool), f"{director.name}: the weights of its servers add up to {total}"),
                (f"in {pool.file}: quorum {max(total - 1, 1)}, or larger weights",),
            )


def masquerade_to_loopback_in_file(evidence: Evidence) -> Iterator[Finding]:
    """As `servers.masquerade_to_loopback`, of a sorry server that has not come in yet."""
    for director in evidence.directors:
        for daemon, pool in pools(director):
            sorry = pool.sorry
            if sorry is None or sorry.forwarding is not PacketForwarding.MASQ or not _is_loopback(sorry):
                continue
            word = "fallback" if daemon == "ldirectord" else "sorry_server"
            fix = (
                f"in {pool.file}: fallback={sorry.name} gate"
                if daemon == "ldirectord"
                else f"in {pool.file}: sorry_server_lvs_method DR"
            )
            yield Finding(
                "masquerade-to-loopback",
                f"The {word} of {pool.name} is reached by masquerading at {sorry.name}: when it comes in, the"
                " kernel drops packets from outside that would be translated to a loopback address.",
                (f"{_place(director, pool)}: {word} {sorry.name} {sorry.forwarding.value}",),
                (
                    fix,
                    "the packets then keep their destination: the program must listen on the virtual address",
                ),
            )


def _is_loopback(server: RealServer) -> bool:
    return ip_address(server.address).is_loopback


def duplicate_service(evidence: Evidence) -> Iterator[Finding]:
    """Two definitions of one service: ldirectord refuses its file ("duplicate virtual server"),
    keepalived lets the later one overwrite the other's servers.
    """
    for director in evidence.directors:
        seen: dict[str, tuple[str, Pool]] = {}
        for daemon, pool, service in _wanted(director):
            if service.name not in seen:
                seen[service.name] = daemon, pool
                continue
            first, earlier = seen[service.name]
            hint = (
                ["in ldirectord.cf UDP and TCP on one port need protocol=udp and protocol=tcp"]
                if daemon == first == "ldirectord"
                else []
            )
            yield Finding(
                "several-managers" if daemon != first else "duplicate-service",
                f"{service.name} is defined twice, by {first} at line {earlier.line} and by {daemon} at line"
                f" {pool.line}: "
                + (
                    "each takes the other's servers out of the table, or adds its own."
                    if daemon != first
                    else "the daemon refuses the file, or mixes the two up."
                ),
                (_place(director, earlier), _place(director, pool)),
                ("leave one of the two", *hint),
            )


def foreign_manager(evidence: Evidence) -> Iterator[Finding]:
    """kube-proxy takes services out of the table that it does not know, unless their addresses are
    excluded (`--ipvs-exclude-cidrs`).
    """
    for director in evidence.directors:
        kubernetes = "kube-proxy" in director.programs or director.link("kube-ipvs0") is not None
        others = sorted({daemon for daemon, _ in pools(director)} | (director.programs & _DAEMONS))
        if not kubernetes or not others:
            continue
        kept = director.link("kube-ipvs0")
        own = {address.ip for address in kept.addresses} if kept else set()
        services = director.ipvs.services if director.ipvs else ()
        strangers = [service.name for service in services if service.address and service.address not in own]
        yield Finding(
            "several-managers",
            f"kube-proxy and {' and '.join(others)} keep one table: kube-proxy deletes services that it does"
            " not know when it starts or synchronises.",
            (
                f"{director.name}: kube-proxy works here (kube-ipvs0), and {', '.join(others)}, too",
                *(f"{director.name}: {name} is no service of kube-proxy's" for name in strangers[:3]),
            ),
            ("exclude the other addresses: kube-proxy --ipvs-exclude-cidrs=NETWORK,…, or use two machines",),
            Certainty.LIKELY,
        )


_DAEMONS = frozenset({"keepalived", "ldirectord"})


def service_missing(evidence: Evidence) -> Iterator[Finding]:
    """A virtual service of the file that the table does not have. Without a quorum keepalived keeps
    it empty, so health checks are no reason.
    """
    for director in evidence.directors:
        if director.ipvs is None or Part.TABLE in director.lacks:
            continue
        absent: dict[str, tuple[str, Pool, list[str]]] = {}
        for daemon, pool, wanted in _wanted(director):
            if _present(director, wanted) is None and not _suspends(director, pool):
                absent.setdefault(pool.name, (daemon, pool, []))[2].append(wanted.name)
        for daemon, pool, names in absent.values():
            yield Finding(
                "service-not-in-table",
                f"{daemon}'s file wants {', '.join(names[:3])}, which is not in the table: the daemon"
                " does not run, has refused this part of the file, or has not read it again.",
                (
                    _place(director, pool),
                    f"{director.name}: in the table: {_count(director.ipvs.services)}",
                ),
                (_wake(director, daemon),),
                Certainty.LIKELY,
            )


def _wake(director: Machine, daemon: str) -> str:
    """What makes a daemon do what its file says, or tell why not."""
    if director.programs and daemon not in director.programs:
        return f"{director.name}# systemctl start {daemon}"
    return f"see what {daemon} says about this service: {director.name}# systemctl status {daemon}"


def _count(services: Sequence[VirtualService]) -> str:
    return plural(len(services), "virtual service")


def _suspends(director: Machine, pool: Pool) -> bool:
    """Whether keepalived leaves the service out while the address is elsewhere (`ha_suspend`)."""
    tree = director.keepalived.tree.blocks if director.keepalived else ()
    return any(block.line == pool.line and block.all("ha_suspend") for block in tree)


def mixed_families_and_sync(evidence: Evidence) -> Iterator[Finding]:
    """A real server of the other family and a sync daemon exclude each other: whoever comes second
    is refused (start_sync_thread, ip_vs_genl_parse_dest, "mixed_address_family_dests").
    """
    for director in evidence.directors:
        if director.keepalived is None or director.keepalived.sync is None:
            continue
        mixed = [
            (pool, service, server)
            for _, pool, service in _wanted(director)
            for server in service.real_servers
            if server.endpoint.ipv6 != service.is_ipv6
        ]
        if mixed:
            pool, service, server = mixed[0]
            yield Finding(
                "sync-and-mixed-families",
                f"{service.name} has servers of the other address family, and keepalived is to start a sync"
                " daemon: the kernel takes one of the two only. Whichever comes second is refused.",
                (
                    f"{_place(director, pool)}: {service.name} -> {server.name}",
                    f"{director.name}: keepalived.conf: lvs_sync_daemon {director.keepalived.sync.interface}",
                ),
                (
                    f"in {pool.file}: servers of both families behind tunnels of their own family, or no"
                    " lvs_sync_daemon",
                ),
            )
