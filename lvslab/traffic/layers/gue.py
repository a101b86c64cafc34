"""Generic UDP Encapsulation (draft-ietf-intarea-gue), as far as Linux and the tunnels of IPVS use
it.

Version 0 (include/net/gue.h; ipvs_gue_encap in net/netfilter/ipvs/ip_vs_xmit.c):

     0                   1                   2                   3
    | 0 |C|  hlen   |  proto_ctype  |             flags           |P|   hlen: 32-bit words after these first four bytes
    |R|                      private flags                          |   with P (GUE_FLAG_PRIV)
    |        csum_start             |         csum_offset           |   with R (GUE_PFLAG_REMCSUM)

IPVS writes hlen 0 and no flags, or, with `ipvsadm --tun-type gue --tun-remcsum`, hlen 2 with both,
where the packet's checksum is still to be computed; see `remote_checksum`. proto_ctype is 4 around
IPv4, 41 around IPv6.

Version 1 has no header at all: the UDP payload is an IP packet, whose own version, 4 or 6, begins
with the bits 01 (gue_udp_recv in net/ipv4/fou_core.c). `Gue` reads it as that IP packet; to write
it, put IP directly behind UDP.
"""  # noqa: E501, W505

from __future__ import annotations

from typing import Any

from scapy.config import conf
from scapy.fields import (
    BitField,
    ByteEnumField,
    ConditionalField,
    FlagsField,
    ShortField,
    StrLenField,
    XIntField,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, bind_bottom_up, bind_layers, bind_top_down
from scapy.utils import checksum

GUE_PORT = 6080
"""UDP port that IANA gave to GUE. Linux has no default; `ipvsadm --tun-port` takes any: see
`bind_gue`.
"""

GUE_FLAG_PRIV = 1 << 0
"""Standard flag: private flags follow. The only one Linux knows; it drops packets with others
(validate_gue_flags).
"""

GUE_PFLAG_REMCSUM = 1 << 31
"""Private flag: remote checksum offload; csum_start and csum_offset follow."""

_HEADER = 4
_WORD = 4


def _has_private(packet: Packet, words: int) -> bool:
    """Whether private flags come first, and the header has room for so many words. Fields of other
    flags would come before them.
    """
    return packet.flags == GUE_FLAG_PRIV and (packet.hlen is None or packet.hlen >= words)


def _has_remcsum(packet: Packet) -> bool:
    return _has_private(packet, 2) and packet.private_flags == GUE_PFLAG_REMCSUM


def _rest_length(packet: Packet) -> int:
    """Bytes of options that no field above has taken."""
    taken = _has_private(packet, 1) + _has_remcsum(packet)
    return max(0, (packet.hlen or 0) - taken) * _WORD


class Gue(Packet):
    """A GUE header of version 0.

    `Gue(data)` never raises for a header of version 0: what is too short for it becomes Raw, as do
    versions without a meaning. Version 1 becomes scapy's IP or IPv6, which may raise for a broken
    packet; behind UDP scapy makes that Raw too. Where flags are set that are not known here, all
    options stay in `rest`.

    Attributes:
        hlen: words of four bytes of all options; computed.
        proto_ctype: IP protocol of the payload, or with control the type of a control message.
        csum_start, csum_offset: in bytes from the start of the payload: from where the checksum is
            taken, and where it belongs.
        rest: further options, whole words.
    """

    name = "GUE"
    fields_desc = [
        BitField("version", 0, 2),
        BitField("control", 0, 1),
        BitField("hlen", None, 5),
        ByteEnumField("proto_ctype", 4, {4: "IPIP", 41: "IPV6", 47: "GRE"}),
        FlagsField("flags", 0, 16, ["PRIV"]),
        ConditionalField(XIntField("private_flags", 0), lambda packet: _has_private(packet, 1)),
        ConditionalField(ShortField("csum_start", 0), _has_remcsum),
        ConditionalField(ShortField("csum_offset", 0), _has_remcsum),
        StrLenField("rest", b"", length_from=_rest_length),
    ]

    @classmethod
    def dispatch_hook(cls, _pkt: bytes | None = None, *args: Any, **kargs: Any) -> Any:
        """What to read bytes as."""
        if not _pkt:
            return cls
        if _pkt[0] >> 6 == 1:
            return {4: IP, 6: IPv6}.get(_pkt[0] >> 4, conf.raw_layer)
        if _pkt[0] >> 6 == 0 and len(_pkt) >= _HEADER + (_pkt[0] & 0x1F) * _WORD:
            return cls
        return conf.raw_layer

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in hlen.

        Raises:
            ValueError: the options are no whole words, or more than 31.
        """
        if self.hlen is None:
            words, over = divmod(len(pkt) - _HEADER, _WORD)
            if over or words > 0x1F:
                raise ValueError(
                    f"{len(pkt) - _HEADER} bytes of GUE options: at most {0x1F * _WORD} in whole words of"
                    f" {_WORD}"
                )
            pkt = bytes([pkt[0] | words]) + pkt[1:]
        return pkt + pay

    def mysummary(self) -> str:
        """One line for people."""
        return str(self.sprintf("GUE %Gue.proto_ctype% %Gue.flags%"))


def remote_checksum(gue: Packet) -> int | None:
    """The checksum that the tunnel's end must write into the payload, None where it is not asked
    to.

    With remote checksum offload the payload's checksum field holds the sum of the pseudo-header
    only. The end sums up everything from csum_start on, that field included, and writes the result
    at csum_offset (skb_remcsum_process and remcsum_adjust, Linux). Where that is 0 it is 0 here, in
    UDP too.

    Raises:
        ValueError: the two places are not inside the payload; Linux drops that packet.
    """
    if not (gue.version == 0 and _has_remcsum(gue)):
        return None
    payload = bytes(gue.payload)
    if gue.csum_start > len(payload) or gue.csum_offset + 2 > len(payload):
        raise ValueError(
            f"checksum from {gue.csum_start} at {gue.csum_offset} of a payload of {len(payload)} bytes"
        )
    return int(checksum(payload[gue.csum_start :]))


def bind_gue(port: int) -> None:
    """Let scapy read what goes to a UDP port as GUE, for all of the process."""
    bind_bottom_up(UDP, Gue, dport=port)


bind_layers(Gue, IP, control=0, proto_ctype=4)
bind_layers(Gue, IPv6, control=0, proto_ctype=41)
bind_gue(GUE_PORT)
bind_top_down(UDP, Gue, dport=GUE_PORT)
