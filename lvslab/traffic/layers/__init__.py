"""scapy layers for what IPVS puts on the wire and scapy does not know: the TOA option, the sync
datagram, GUE.

Importing this package loads scapy and tells it that UDP port 8848 carries sync datagrams and UDP
port 6080 GUE; nothing else changes.

    from lvslab.traffic.layers import Gue, SyncMessage, Toa, find_toa, with_toa
"""

from lvslab.traffic.layers.gue import GUE_PORT, Gue, bind_gue, remote_checksum
from lvslab.traffic.layers.sync.entries import (
    IpVsSeq,
    IpVsSeqV0,
    SyncConnV0,
    SyncConnV4,
    SyncConnV6,
    SyncOption,
    SyncPeData,
    SyncPeName,
    SyncSeqData,
)
from lvslab.traffic.layers.sync.messages import SyncMessage, SyncMessageV0, bind_sync, decode
from lvslab.traffic.layers.sync.words import (
    SYNC_GROUP,
    SYNC_PORT,
    ConnFlag,
    Forwarding,
    flags_text,
    state_name,
)
from lvslab.traffic.layers.toa import (
    Toa,
    find_toa,
    options_room,
    read_toa,
    register_toa,
    unregister_toa,
    with_toa,
)

__all__ = [
    "GUE_PORT",
    "SYNC_GROUP",
    "SYNC_PORT",
    "ConnFlag",
    "Forwarding",
    "Gue",
    "IpVsSeq",
    "IpVsSeqV0",
    "SyncConnV0",
    "SyncConnV4",
    "SyncConnV6",
    "SyncMessage",
    "SyncMessageV0",
    "SyncOption",
    "SyncPeData",
    "SyncPeName",
    "SyncSeqData",
    "Toa",
    "bind_gue",
    "bind_sync",
    "decode",
    "find_toa",
    "flags_text",
    "options_room",
    "read_toa",
    "register_toa",
    "remote_checksum",
    "state_name",
    "unregister_toa",
    "with_toa",
]
