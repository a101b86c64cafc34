"""Virtual servers of keepalived.conf, as pools."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from lvslab.errors import UsageError
from lvslab.ipvs.service import (
    PERSISTENCE_DEFAULT,
    PacketForwarding,
    Protocol,
    RealServer,
    Scheduler,
    SchedulerFlag,
    VirtualService,
)
from lvslab.ipvs.tunnels import TunnelChecksum, TunnelType
from lvslab.ipvs.words import member, numeric_address
from lvslab.reading.blocks import Block, Note
from lvslab.reading.checks import read_checks
from lvslab.reading.configured import ConfiguredServer, Pool, with_servers
from lvslab.reading.ports import port_number
from lvslab.reading.vrrp import whole

_METHODS = {"NAT": PacketForwarding.MASQ, "DR": PacketForwarding.DR, "TUN": PacketForwarding.TUN}
_FLAGS = {flag.value: flag for flag in SchedulerFlag}
_PROTOCOL = "UDP"
"""Without a statement ("no protocol set - defaulting to UDP", keepalived 2.2.7)."""

_MOST_ADDRESSES = 1024
"""Of a range in a group: more than that is passed over, and said."""


def read_pools(blocks: Sequence[Block], note: Note) -> tuple[Pool, ...]:
    """The pools of a file; groups may stand behind the virtual servers that use them."""
    groups = {" ".join(block.arguments): block for block in blocks if block.keyword == "virtual_server_group"}
    return tuple(_pool(block, groups, note) for block in blocks if block.keyword == "virtual_server")


def _pool(block: Block, groups: Mapping[str, Block], note: Note) -> Pool:
    def refusing(where: Block) -> Callable[[str], None]:
        return lambda why: note(where, why)

    servers = []
    for each in block.all("real_server"):
        server = _server(each, [each, block], note)
        if server:
            inhibits = bool(block.all("inhibit_on_failure") or each.all("inhibit_on_failure"))
            servers.append(ConfiguredServer(server, read_checks(each, block, server), inhibits))
    in_table = [each.server for each in servers]
    written = block.last("sorry_server")
    sorry = _server(written, [block], note, "sorry_server_lvs_method") if written else None
    if sorry and block.all("sorry_server_inhibit"):
        in_table.append(replace(sorry, weight=0))
    services = [
        with_servers(
            service, [_marked(server) for server in in_table] if service.fwmark else in_table, refusing(block)
        )
        for service in _services(block, groups, note)
    ]
    return Pool(
        " ".join(block.arguments),
        tuple(services),
        tuple(servers),
        sorry=sorry,
        quorum=whole(block.value("quorum"), 1),
        line=block.line,
        file=block.file,
    )


def _marked(server: RealServer) -> RealServer:
    """A server as it stands in the service of a firewall mark: a port is kept where NAT can change
    it ("port will be ignored", keepalived 2.2.7, for the others).
    """
    return server if server.forwarding is PacketForwarding.MASQ else replace(server, port=0)


# -- what is balanced ------------------------------------------------------------------------------


def _services(block: Block, groups: Mapping[str, Block], note: Note) -> Iterator[VirtualService]:
    """The virtual services of a virtual server: one, or those of its group."""
    if block.arguments[:1] != ("group",):
        yield from _named(block, block.arguments, block, note)
        return
    group = groups.get(" ".join(block.arguments[1:]))
    if group is None:
        note(block, "there is no virtual_server_group of that name")
        return
    for entry in group.children:
        yield from _named(entry, entry.words, block, note)


def _named(where: Block, words: Sequence[str], block: Block, note: Note) -> Iterator[VirtualService]:
    """The services that an address, a range of addresses or a firewall mark stands for."""
    if words[:1] in (["fwmark"], ("fwmark",)):
        mark = words[1] if len(words) > 1 else ""
        family = words[2] if len(words) > 2 else block.value("ip_family") or _servers_family(block)
        identities: list[dict[str, Any]] = [
            {"protocol": Protocol.FWMARK, "fwmark": whole(mark, 0), "ipv6": family == "inet6"}
        ]
    else:
        port = port_number(words[1]) if len(words) > 1 else 0
        addresses = list(_range(words[0] if words else ""))
        if not addresses or port is None:
            note(where, "does not name an address and a port in numbers")
        if len(addresses) > 1 and where is block:
            note(where, f"a range counts in a group only: keepalived takes {addresses[0]}")
            del addresses[1:]
        protocol = block.value("protocol", default=_PROTOCOL).lower()
        if protocol not in ("tcp", "udp", "sctp"):
            note(where, f"the protocol {protocol} is none of IPVS")
            return
        identities = [
            {"protocol": Protocol(protocol), "address": address, "port": port}
            for address in addresses
            if port is not None
        ]
    for identity in identities:
        try:
            yield VirtualService(**identity, **_options(block))
        except UsageError as error:
            note(where, str(error))


def _servers_family(block: Block) -> str:
    """The family that a mark's service has by its real servers; that of IPv4 where they differ."""
    families = {":" in each.arguments[0] for each in block.all("real_server") if each.arguments}
    return "inet6" if families == {True} else "inet"


def _options(block: Block) -> dict[str, Any]:
    persistence = block.last("persistence_timeout")
    timeout = 0
    if persistence:
        timeout = whole(persistence.arguments[0], 0) if persistence.arguments else PERSISTENCE_DEFAULT
    return {
        "scheduler": member(
            Scheduler, block.value("lvs_sched", "lb_algo", default="wlc"), "keepalived: scheduler"
        ),
        "scheduler_flags": tuple(
            _FLAGS[child.keyword] for child in block.children if child.keyword in _FLAGS
        ),
        "persistence_timeout": timeout,
        "persistence_netmask": block.value("persistence_granularity") if timeout else "",
        "persistence_engine": block.value("persistence_engine"),
        "ops": bool(block.all("ops")),
    }


def _range(text: str) -> Iterator[str]:
    """The addresses of "10.0.0.1", "10.0.0.1-10", "10.0.0.250-10.0.1.10", "10.0.0.8/29", and of
    their IPv6 equivalents; nothing where it is none of them, or stands for too many.
    """
    try:
        if "/" in text:
            network = ip_network(text, strict=False)
            if network.num_addresses <= _MOST_ADDRESSES:
                yield from (str(address) for address in network)
            return
        first, dash, last = text.partition("-")
        begin = ip_address(numeric_address(first, "range"))
        if not dash:
            yield str(begin)
            return
        if re.fullmatch(r"[0-9a-fA-F]{1,4}", last):
            mark = ":" if begin.version == 6 else "."
            last = f"{first.rpartition(mark)[0]}{mark}{last}"
        end = ip_address(last)
        if begin.version == end.version and 0 <= int(end) - int(begin) < _MOST_ADDRESSES:
            yield from (str(begin + step) for step in range(int(end) - int(begin) + 1))
    except (ValueError, UsageError):
        return


# -- who serves ------------------------------------------------------------------------------------


def _server(
    block: Block, around: Sequence[Block], note: Note, method: str = "lvs_method"
) -> RealServer | None:
    """A real or sorry server; the settings come from the innermost block around that has them."""
    address, *words = block.arguments or ("",)
    port = port_number(words[0]) if words else 0
    try:
        if port is None:
            raise UsageError(f"'{words[0]}' is no port")
        return RealServer(
            numeric_address(address, "real server"),
            port,
            weight=whole(block.value("weight"), 1),
            upper_threshold=whole(block.value("uthreshold"), 0),
            lower_threshold=whole(block.value("lthreshold"), 0),
            **_forwarding(around, method),
        )
    except UsageError as error:
        note(block, str(error))
        return None


def _forwarding(around: Sequence[Block], method: str) -> dict[str, Any]:
    """How packets reach a server: NAT unless written. "TUN type gue port 6080 csum"."""
    statements = [each.last(method) for each in around]
    statements += [each.last("lvs_method", "lb_kind") for each in around]
    statement = next((each for each in statements if each and each.arguments), None)
    words = statement.arguments if statement else ("NAT",)
    settings: dict[str, Any] = {"forwarding": _METHODS.get(words[0].upper(), PacketForwarding.MASQ)}
    if "type" in words[:-1]:
        settings["tun_type"] = member(TunnelType, words[words.index("type") + 1], "tunnel type")
    if "port" in words[:-1]:
        settings["tun_port"] = whole(words[words.index("port") + 1], 0)
    for checksum in TunnelChecksum:
        if checksum.value in words:
            settings["tun_csum"] = checksum
    return settings
