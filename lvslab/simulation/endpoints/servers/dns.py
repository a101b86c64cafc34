"""A name server for a few names (RFC 1035): addresses only, over UDP."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.servers.udp import UdpServer
from lvslab.simulation.endpoints.udp import Datagram

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_A, _AAAA, _IN, _ANY = 1, 28, 1, 255
_RESPONSE, _AUTHORITATIVE, _RECURSION_DESIRED = 0x8000, 0x0400, 0x0100
_NO_ERROR, _FORMAT_ERROR, _NAME_ERROR, _NOT_IMPLEMENTED = 0, 1, 3, 4
_OPCODE = 0x7800
_POINTER_TO_QUESTION = b"\xc0\x0c"


class DnsServer(UdpServer):
    """Gives the addresses of names, in turn.

    Attributes:
        names: name in lower case → addresses; may be changed while it runs.
        ttl: seconds for which others may remember an answer.
    """

    def __init__(
        self,
        host: Host,
        names: Mapping[str, Sequence[str]],
        *,
        port: int = 53,
        ttl: int = 0,
        think: int = 0,
    ) -> None:
        """
        Raises:
            UsageError: one of the addresses is none.
        """
        super().__init__(host, (port,), think=think)
        self.ttl = ttl
        self.names = {
            name.lower().rstrip("."): [address(text) for text in texts] for name, texts in names.items()
        }
        self._turn = 0

    def _response(self, datagram: Datagram) -> bytes:
        query = datagram.data
        if len(query) < _HEADER.size:
            return b""
        number, flags, questions = _HEADER.unpack_from(query)[:3]
        if flags & _RESPONSE:
            return b""
        flags = _RESPONSE | _AUTHORITATIVE | flags & (_OPCODE | _RECURSION_DESIRED)
        if flags & _OPCODE:
            return _HEADER.pack(number, flags | _NOT_IMPLEMENTED, 0, 0, 0, 0)
        read = _read_name(query, _HEADER.size)
        if read is None or questions != 1 or len(query) < read[1] + 4:
            return _HEADER.pack(number, flags | _FORMAT_ERROR, 0, 0, 0, 0)
        name, end = read
        kind, family = struct.unpack_from("!HH", query, end)
        known = self.names.get(name)
        records = self._records(known or [], kind) if family in (_IN, _ANY) else []
        code = _NAME_ERROR if known is None else _NO_ERROR
        question = query[_HEADER.size : end + 4]
        return _HEADER.pack(number, flags | code, 1, len(records), 0, 0) + question + b"".join(records)

    def _records(self, addresses: Sequence[bytes], kind: int) -> list[bytes]:
        wanted = [octets for octets in addresses if kind in (_ANY, _A if len(octets) == 4 else _AAAA)]
        if wanted:
            first = self._turn % len(wanted)
            self._turn += 1
            wanted = wanted[first:] + wanted[:first]
        return [
            _POINTER_TO_QUESTION
            + _RECORD.pack(_A if len(octets) == 4 else _AAAA, _IN, self.ttl, len(octets))
            + octets
            for octets in wanted
        ]


def _read_name(message: bytes, place: int) -> tuple[str, int] | None:
    """A name in lower case and the place behind it; None if it is malformed or compressed, which a
    question's is not.
    """
    labels: list[str] = []
    while place < len(message):
        length = message[place]
        if not length:
            return ".".join(labels), place + 1
        label = message[place + 1 : place + 1 + length]
        if length > 63 or len(label) < length:
            return None
        labels.append(label.decode("latin-1").lower())
        place += 1 + length
    return None
