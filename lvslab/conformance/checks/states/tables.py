"""The kernel's TCP state tables, and how a connection gets into each state.

Facts: `tcp_states` and `tcp_states_dos` of ip_vs_proto_tcp.c in Linux 6.1. They know two directions
for NAT and a third kind, "input only", for DR and TUN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Story = Sequence[str]
"""What happens in one connection: "c:S" is a SYN of the client, "s:SA" the server's answer."""

SYN_RECV, ESTABLISHED, SYN_SENT = "SYN_RECV", "ESTABLISHED", "SYN_SENT"
FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, SYNACK = "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "SYNACK"

OPEN = ("c:S", "s:SA", "c:A")
_NAT_WAYS: Mapping[str, Story] = {
    SYN_RECV: ("c:S",),
    ESTABLISHED: OPEN,
    FIN_WAIT: (*OPEN, "s:FA"),
    SYN_SENT: (*OPEN, "s:FA", "s:S"),
    CLOSE_WAIT: (*OPEN, "c:FA"),
    TIME_WAIT: (*OPEN, "c:FA", "s:FA"),
    CLOSE: (*OPEN, "c:R"),
}
"""How to get into every state that NAT can reach (LAST_ACK and LISTEN lead only into
themselves).
"""
SECURE_OPEN = (*OPEN, "s:A")
_NAT_SECURE_WAYS: Mapping[str, Story] = {
    SYN_RECV: ("c:S",),
    SYNACK: ("c:S", "s:SA"),
    ESTABLISHED: SECURE_OPEN,
    FIN_WAIT: (*SECURE_OPEN, "s:FA"),
    SYN_SENT: (*SECURE_OPEN, "s:FA", "s:S"),
    CLOSE_WAIT: (*SECURE_OPEN, "c:FA"),
    TIME_WAIT: (*SECURE_OPEN, "c:FA", "s:FA"),
    CLOSE: (*SECURE_OPEN, "c:R"),
}
_ONE_WAY: Mapping[str, Story] = {
    SYN_RECV: ("c:S",),
    ESTABLISHED: ("c:S", "c:A"),
    FIN_WAIT: ("c:S", "c:A", "c:FA"),
    TIME_WAIT: ("c:S", "c:FA"),
    CLOSE: ("c:S", "c:A", "c:R"),
}
_ONE_WAY_SECURE: Mapping[str, Story] = {
    SYNACK: ("c:S",),
    ESTABLISHED: ("c:S", "c:A"),
    FIN_WAIT: ("c:S", "c:A", "c:FA"),
    TIME_WAIT: ("c:S", "c:FA"),
    CLOSE: ("c:S", "c:A", "c:R"),
}


def by_state(text: str) -> dict[str, str]:
    """One row of the kernel's table, for the states SYN_RECV, ESTABLISHED, SYN_SENT, FIN_WAIT,
    TIME_WAIT, CLOSE, CLOSE_WAIT, SYNACK.
    """
    names = {
        "SR": SYN_RECV,
        "ES": ESTABLISHED,
        "SS": SYN_SENT,
        "FW": FIN_WAIT,
        "TW": TIME_WAIT,
        "CL": CLOSE,
        "CW": CLOSE_WAIT,
        "SA": SYNACK,
    }
    return dict(zip(names.values(), (names[word] for word in text.split()), strict=True))


#                          in: SR ES SS FW TW CL CW SA
_NAT: Mapping[str, str] = {
    "c:S": "SR ES ES SR SR SR SR SR",
    "c:FA": "TW CW SS TW TW CL CW TW",
    "c:A": "ES ES SS FW TW CL CW ES",
    "c:R": "SR CL CL CL CL CL CL SR",
    "s:S": "SR ES SS SS SS SS SS SR",
    "s:FA": "TW FW SS FW TW CL TW TW",
    "s:A": "ES ES SS FW TW CL CW ES",
    "s:R": "CL CL SS CL TW CL CL CL",
}
_NAT_SECURE: Mapping[str, str] = {
    "c:S": "SR ES ES SR SR SR SR SA",
    "c:FA": "TW CW SS TW TW CL CW SA",
    "c:A": "SR ES SS FW TW CL CW SA",
    "c:R": "SR CL CL CL CL CL CL CL",
    "s:S": "SA ES SS SS SS SS SS SA",
    "s:FA": "TW FW SS FW TW CL TW TW",
    "s:A": "ES ES SS FW TW CL CW ES",
    "s:R": "CL CL SS CL TW CL CL CL",
}
_ONE: Mapping[str, str] = {
    "c:S": "SR ES ES SR SR SR SR SR",
    "c:FA": "TW FW SS FW TW CL CW TW",
    "c:A": "ES ES SS FW TW CL CW ES",
    "c:R": "SR CL CL CL CL CL CL CL",
}
_ONE_SECURE: Mapping[str, str] = {
    "c:S": "SR ES ES SA SA SA SA SA",
    "c:FA": "TW FW SS FW TW CL CW TW",
    "c:A": "ES ES SS FW TW CL CW ES",
    "c:R": "SR CL CL CL CL CL CL CL",
}
TABLES: Mapping[str, tuple[Mapping[str, Story], Mapping[str, str]]] = {
    "nat": (_NAT_WAYS, _NAT),
    "nat-secure": (_NAT_SECURE_WAYS, _NAT_SECURE),
    "dr": (_ONE_WAY, _ONE),
    "dr-secure": (_ONE_WAY_SECURE, _ONE_SECURE),
    "tun": (_ONE_WAY, _ONE),
}
