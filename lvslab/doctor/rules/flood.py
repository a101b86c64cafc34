"""SYN floods: a table full of connections whose handshake never ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from lvslab.doctor.evidence import Evidence, Machine
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import rules
from lvslab.doctor.rules.synproxy import set_up
from lvslab.ipvs.endpoint import Endpoint
from lvslab.ipvs.listings import Connection
from lvslab.ipvs.service import PacketForwarding
from lvslab.runs.words import plural

_MANY = 100
_SHARE = 0.8


def syn_flood(evidence: Evidence) -> Iterator[Finding]:
    """Hundreds of half-open connections from all over, and nothing switched on against them."""
    for director in evidence.directors:
        if not director.ipvs:
            continue
        entries = [
            each for each in director.ipvs.connections if each.protocol == "TCP" and not each.is_template
        ]
        half = [each for each in entries if each.state == "SYN_RECV"]
        sources = {each.client.address for each in half}
        defended = any(
            director.sysctl(f"net.ipv4.vs.{key}") for key in ("drop_entry", "drop_packet", "secure_tcp")
        )
        proxied = any(
            rule.target == "SYNPROXY"
            for table in ("filter", "raw", "mangle")
            for rule in rules(director, table)
        )
        if (
            len(half) < _MANY
            or len(half) < _SHARE * len(entries)
            or len(sources) < _MANY // 5
            or defended
            or proxied
        ):
            continue
        yield Finding(
            "syn-flood",
            f"{len(half)} of {len(entries)} connections are half-open, from {len(sources)} addresses that"
            " never finish their handshake: a SYN flood fills the table, and the real servers' queues.",
            (
                f"{director.name}: ipvsadm -Lnc: {plural(len(half), 'entry', 'entries')} in SYN_RECV",
                *(
                    f"{director.name}: net.ipv4.vs.{key} = {director.sysctl(f'net.ipv4.vs.{key}')}"
                    for key in ("drop_entry", "secure_tcp")
                ),
            ),
            _fix(director, half),
            Certainty.LIKELY,
        )


def _fix(director: Machine, half: Sequence[Connection]) -> tuple[str, ...]:
    """A SYN proxy before the flooded service where the replies come back through the director, for
    it must see both ways; else what IPVS itself has, which only keeps room in the table.
    """
    assert director.ipvs
    (flooded, _), *_ = Counter(each.virtual for each in half).most_common(1)
    ends = {Endpoint(each.address, each.port): each for each in director.ipvs.services if each.address}
    service = ends.get(flooded)
    if service and all(each.forwarding is PacketForwarding.MASQ for each in service.real_servers):
        return tuple(f"{director.name}# {command}" for command in set_up(service))
    return (
        f"{director.name}# sysctl -w net.ipv4.vs.drop_entry=3 net.ipv4.vs.secure_tcp=3",
        "that keeps room in the table alone; what the servers need as well are SYN cookies of their own:"
        " sysctl -w net.ipv4.tcp_syncookies=1",
    )
