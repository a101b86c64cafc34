"""SYN floods: a table full of connections whose handshake never ends."""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence
from lvslab.doctor.finding import Certainty, Finding
from lvslab.doctor.netfilter import rules
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
            (
                f"{director.name}# sysctl -w net.ipv4.vs.drop_entry=3 net.ipv4.vs.secure_tcp=3",
                "or put a SYN proxy in front (NAT only): lvslab verify synproxy --dry-run shows how",
            ),
            Certainty.LIKELY,
        )
