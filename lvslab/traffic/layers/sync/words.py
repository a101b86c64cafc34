"""Numbers, flags and states of the datagram, and their names."""

from __future__ import annotations

from enum import IntEnum, IntFlag

SYNC_GROUP = "224.0.0.81"
"""IP_VS_SYNC_GROUP."""

SYNC_PORT = 8848
"""IP_VS_SYNC_PORT."""

HEADER, HEADER_V0 = 8, 4
ENTRY_V4, ENTRY_V6, ENTRY_V0 = 36, 72, 24
SEQ, SEQUENCES = 12, 24
SIZE_MASK = 0x0FFF
PE_NAME_MAX = 16  # IP_VS_PENAME_MAXLEN
TYPE_INET6 = 1 << 0  # STYPE_F_INET6
SEQ_DATA, PE_DATA, PE_NAME = 1, 2, 3  # IPVS_OPT_*
MAY_SKIP = 1 << 6  # IPVS_OPT_F_PARAM
IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP = 6, 17, 132


class Forwarding(IntEnum):
    """How a connection's packets are forwarded: the low three bits of its flags
    (include/uapi/linux/ip_vs.h).
    """

    MASQ = 0
    LOCALNODE = 1
    TUNNEL = 2
    DROUTE = 3
    BYPASS = 4


class ConnFlag(IntFlag):
    """The other flags of a connection, IP_VS_CONN_F_* (include/uapi/linux/ip_vs.h). A sender leaves
    out HASHED.
    """

    SYNC = 0x0020
    HASHED = 0x0040
    NOOUTPUT = 0x0080
    INACTIVE = 0x0100
    OUT_SEQ = 0x0200
    IN_SEQ = 0x0400
    NO_CPORT = 0x0800
    TEMPLATE = 0x1000
    ONE_PACKET = 0x2000
    NFCT = 0x10000


FORWARDING_MASK = 0x0007
"""IP_VS_CONN_F_FWD_MASK."""

SEQUENCE_FLAGS = ConnFlag.IN_SEQ | ConnFlag.OUT_SEQ
"""IP_VS_CONN_F_SEQ_MASK: with one of these an entry carries both sequence structures."""

_TCP_STATES = (
    "NONE",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "SYNACK",
)
_SCTP_STATES = (
    "NONE",
    "INIT1",
    "INIT",
    "C-SENT",
    "C-REPLIED",
    "C-WAIT",
    "COOKIE",
    "C-ECHOED",
    "ESTABLISHED",
    "S-SENT",
    "S-RECEIVED",
    "S-ACK-SENT",
    "REJECTED",
    "CLOSED",
)

TEMPLATE = 0
"""Key of templates in `STATES`, beside the IP protocols."""

STATES: dict[int, dict[int, str]] = {
    IPPROTO_TCP: dict(enumerate(_TCP_STATES)),
    IPPROTO_UDP: {0: "UDP"},
    IPPROTO_SCTP: dict(enumerate(_SCTP_STATES)),
    TEMPLATE: {0: "NONE", 1: "ASSURED"},
}
"""States by IP protocol (6, 17, 132) and of templates, numbered as in include/net/ip_vs.h, named as
`ipvsadm -Lnc` shows them (the state_name tables of ip_vs_proto_tcp.c, ip_vs_proto_udp.c and
ip_vs_proto_sctp.c; ip_vs_state_name in ip_vs_proto.c).
"""


def flags_text(flags: int) -> str:
    """A connection's flags for people: forwarding method, then the names of the bits; unknown ones
    as one number.
    """
    method = flags & FORWARDING_MASK
    words = [Forwarding(method).name if method in list(Forwarding) else f"method {method}"]
    words += [str(each.name) for each in ConnFlag if flags & each]
    rest = flags & ~FORWARDING_MASK & ~sum(ConnFlag)
    return "+".join([*words, *([hex(rest)] if rest else [])])


def state_name(protocol: int, flags: int, state: int) -> str:
    """A state as `ipvsadm -Lnc` shows it; a number where it has no name."""
    kind = TEMPLATE if flags & ConnFlag.TEMPLATE else protocol
    return STATES.get(kind, {}).get(state, str(state))
