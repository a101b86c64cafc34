"""Sessions of an application that live in one real server's memory, as a capture of HTTP shows
them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lvslab.doctor.evidence import Destination, Evidence, Packet
from lvslab.doctor.finding import Certainty, Finding
from lvslab.ipvs.service import Protocol

_TOKEN = re.compile(r"(?=[A-Za-z_\-]*[0-9])[0-9A-Za-z_\-]{8,}")
"""What may be a session's name: eight characters or more, with a digit among them, which ordinary
words have not.
"""

_REFUSED = ("400", "401", "403", "409", "410", "419", "440")
"""Answers to a client whose session is unknown; 404 is said of pages, too."""

_PLACES = re.compile(r"^(?:[A-Z]+ (\S+) HTTP/[0-9.]+|(?:Cookie|Authorization): *(.*?))\r?$", re.MULTILINE)
"""Where a client shows it: the request line, and the headers made for it (RFC 6265, RFC 9110)."""

_LONGEST = 4000


@dataclass
class _Conversation:
    """An HTTP connection as the real server had it, both directions put together."""

    destination: Destination
    client: str
    asked: str = ""
    answered: str = ""

    @property
    def server(self) -> str:
        return self.destination.machine.name if self.destination.machine else self.destination.server.address

    @property
    def status(self) -> str:
        """ "403 Forbidden"; "" of what is no HTTP."""
        match = re.match(r"HTTP/[0-9.]+ ([0-9]{3}[^\r\n]*)", self.answered)
        return match[1] if match else ""


def persistence_missing(evidence: Evidence) -> Iterator[Finding]:
    """A client shows one real server what another one gave it, and is refused: nothing ties clients
    to servers.

    Needs a capture: neither the table nor any counter knows what an application expects.
    """
    by_service: dict[tuple[str, str], list[_Conversation]] = {}
    for each in _conversations(evidence):
        by_service.setdefault((each.destination.director.name, each.destination.service.name), []).append(
            each
        )
    for talks in by_service.values():
        service = talks[0].destination.service
        if service.persistence_timeout:
            continue
        given: dict[str, _Conversation] = {}
        for talk in talks:
            shown = " ".join(part for match in _PLACES.findall(talk.asked) for part in match)
            giver = next((given[token] for token in _TOKEN.findall(shown) if token in given), None)
            if giver and giver.server != talk.server and talk.status.startswith(_REFUSED):
                yield _finding(evidence, giver, talk)
                break
            for token in _TOKEN.findall(talk.answered):
                given.setdefault(token, talk)


def _finding(evidence: Evidence, giver: _Conversation, talk: _Conversation) -> Finding:
    service = talk.destination.service
    asked = talk.asked.partition("\r\n")[0]
    directors = [
        each
        for each in evidence.directors
        if each.ipvs and service.name in [one.name for one in each.ipvs.services]
    ]
    return Finding(
        "persistence-missing",
        f"Sessions are known to one real server alone, but {service.name} is not persistent: a client's next"
        " connection may meet another server, which does not know it. It should be persistent for as long as"
        " a session may rest.",
        (
            f"capture: {giver.server} gave {giver.client} a session ({giver.status})",
            f"capture: {talk.server} was asked '{asked}' with it by {talk.client} and answered {talk.status}",
            (
                f"{talk.destination.director.name}: {service.name} has scheduler {service.scheduler} and no"
                " persistence"
            ),
        ),
        tuple(
            f"{each.name}# ipvsadm -E {' '.join(service.selector)} -s {service.scheduler} -p 300"
            for each in directors
        ),
        Certainty.LIKELY,
    )


def _conversations(evidence: Evidence) -> list[_Conversation]:
    """TCP connections with real servers, in the order of their beginnings, seen at the servers, or
    else at the directors.
    """
    packets = [each for each in evidence.packets or () if each.protocol == "TCP" and each.body]
    servers = {each.name for each in evidence.servers}
    at_servers = any(each.machine in servers for each in packets)
    found: dict[tuple[str, str, int, int], _Conversation] = {}
    for packet in packets:
        if (packet.machine in servers) != at_servers:
            continue
        for asks in (True, False):
            talk = _of(evidence, packet, asks, found)
            if talk:
                text = packet.body.decode("latin-1")
                if asks:
                    talk.asked = (talk.asked + text)[:_LONGEST]
                else:
                    talk.answered = (talk.answered + text)[:_LONGEST]
                break
    return list(found.values())


def _of(
    evidence: Evidence, packet: Packet, asks: bool, found: dict[tuple[str, str, int, int], _Conversation]
) -> _Conversation | None:
    """The conversation to which a packet belongs, if it asks, or else answers, a real server of a
    table.
    """
    server, port = (packet.destination, packet.dport) if asks else (packet.source, packet.sport)
    client, client_port = (packet.source, packet.sport) if asks else (packet.destination, packet.dport)
    key = (packet.machine, client, client_port, port)
    if key in found:
        return found[key]
    for each in evidence.destinations():
        if each.service.protocol is not Protocol.TCP:
            continue
        here = each.machine is not None and each.machine.name == packet.machine
        if (each.masquerades and (server, port) == (each.server.address, each.server.port)) or (
            here and (server, port) == (each.service.address, each.service.port)
        ):
            if not each.masquerades and packet.sent == asks:
                continue
            found[key] = _Conversation(each, client)
            return found[key]
    return None
