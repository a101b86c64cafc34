"""All rules in one order, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from lvslab.doctor.evidence import Evidence
from lvslab.doctor.finding import Finding
from lvslab.doctor.missing import missing
from lvslab.doctor.notes import notes
from lvslab.doctor.rules import (
    arp,
    connections,
    datagrams,
    director,
    files,
    flood,
    fullnat,
    marks,
    nat,
    servers,
    sessions,
    sync,
    synproxy,
    tunnel,
    twice,
    unread,
)

RULES: tuple[Callable[[Evidence], Iterable[Finding]], ...] = (
    director.no_service,
    director.no_server,
    director.vip_not_local,
    director.vip_held_twice,
    marks.mark_not_set,
    marks.mark_set_twice,
    marks.mark_without_service,
    marks.ftp_data_unmarked,
    marks.server_in_two_pools,
    twice.scheduled_twice,
    files.server_not_in_file,
    files.service_missing,
    files.weight_not_as_in_file,
    files.quorum_above_weights,
    files.masquerade_to_loopback_in_file,
    files.duplicate_service,
    files.foreign_manager,
    files.mixed_families_and_sync,
    servers.masquerade_to_loopback,
    nat.ip_forward_off,
    nat.tracking_off,
    fullnat.local_address_missing,
    synproxy.half_a_proxy,
    nat.return_path,
    arp.arp_flux,
    servers.vip_missing,
    tunnel.no_tunnel,
    tunnel.reverse_path_filter,
    tunnel.mtu,
    servers.port_mapping_without_nat,
    servers.wrong_server_port,
    servers.tls_to_plain_port,
    servers.server_port_dead,
    servers.protocol_missing,
    connections.deleted_server_swallows,
    connections.keeps_drained,
    connections.reused_port_pinned,
    connections.idle_timeout,
    datagrams.udp_keeps_drained,
    datagrams.udp_sticks,
    datagrams.one_packet_nat,
    sessions.persistence_missing,
    sync.sync_off,
    sync.sync_mismatch,
    fullnat.local_ports_exhausted,
    fullnat.tracking_full,
    nat.hairpin,
    unread.no_handshake,
    flood.syn_flood,
)
"""In the order in which a packet meets what they look at: the first broken thing is the one to mend
first.
"""


_MOST_LINES = 10
"""Of evidence: the hundredth connection tells no more than the third."""


def diagnose(evidence: Evidence) -> list[Finding]:
    """What is wrong, the surest first; each fault once, with all that speaks for it. Empty: nothing
    was found.
    """
    found: dict[str, Finding] = {}
    for rule in RULES:
        for each in rule(evidence):
            before = found.get(each.fault)
            found[each.fault] = _joined(before, each) if before else each
    return sorted(found.values(), key=lambda each: -each.certainty)


def _joined(one: Finding, other: Finding) -> Finding:
    lines = tuple(dict.fromkeys(one.evidence + other.evidence))
    return replace(
        one if one.certainty >= other.certainty else other,
        evidence=lines[:_MOST_LINES],
        fix=tuple(dict.fromkeys(one.fix + other.fix)),
        afterwards=tuple(dict.fromkeys(one.afterwards + other.afterwards)),
    )


def report(evidence: Evidence) -> dict[str, Any]:
    """The diagnosis as JSON: findings, the machines that were read, what could not be read, notes
    on what is no fault, what nobody gave and what stays open without it, and how many packets a
    capture saw (null: none was taken).
    """
    return {
        "findings": [each.to_json() for each in diagnose(evidence)],
        "machines": [each.name for each in evidence.machines],
        "unread": [f"{each.name}: {line}" for each in evidence.machines for line in each.unread],
        "notes": notes(evidence),
        "missing": missing(evidence),
        "packets": None if evidence.packets is None else len(evidence.packets),
    }
