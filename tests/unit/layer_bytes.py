"""What the tests of the layers share: addresses, numbers, and bytes as they were recorded."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import strategies as st


def raw(*parts: str) -> bytes:
    """Bytes from hexadecimal digits."""
    return bytes.fromhex("".join(parts))


V4 = st.integers(0, 2**32 - 1).map(lambda number: str(IPv4Address(number)))
V6 = st.integers(0, 2**128 - 1).map(lambda number: str(IPv6Address(number)))
U8, U16, U32 = st.integers(0, 2**8 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)


# -- sync: recorded --------------------------------------------------------------------------------
# From Linux 6.1.176: sync daemon with syncid 1, multicast 224.0.0.81 port 8848, LVS-NAT. Beside the entries: the line of  # noqa: E501, W505
# `ipvsadm -Lnc` on the master, or what the entry was.

RECORDED_V1 = raw(
    "00 01 0261 0f 01 0000",  # reserved 0, syncid 1, size 609, 15 connections, version 1, spare 0
    # 10.0.0.101:57028 ESTABLISHED → rs2
    "00 06 0024 00000000 0001 dec4 0050 1f90 00000000 00000384 0a000065 0a00000a 0a00010c",
    # 10.0.0.101:57036 ESTABLISHED → rs1
    "00 06 0024 00000000 0001 decc 0050 1f90 00000000 00000384 0a000065 0a00000a 0a00010b",
    # template of port 81, not yet assured
    "00 06 0024 00001100 0000 0000 0051 1f90 00000000 0000003c 0a000065 0a00000a 0a00010c",
    # TCP ASSURED 10.0.0.101:0
    "00 06 0024 00001100 0001 0000 0051 1f90 00000000 0000003c 0a000065 0a00000a 0a00010c",
    # 10.0.0.101:45498 established
    "00 06 0024 00000000 0001 b1ba 0051 1f90 00000000 00000384 0a000065 0a00000a 0a00010c",
    # its template
    "00 06 0024 00001100 0001 0000 0051 1f90 00000000 0000003c 0a000065 0a00000a 0a00010c",
    # …:45498 after the first FIN: inactive
    "00 06 0024 00000100 0004 b1ba 0051 1f90 00000000 00000078 0a000065 0a00000a 0a00010c",
    # its template
    "00 06 0024 00001100 0001 0000 0051 1f90 00000000 0000003c 0a000065 0a00000a 0a00010c",
    # TCP 01:56 TIME_WAIT 10.0.0.101:45498
    "00 06 0024 00000100 0005 b1ba 0051 1f90 00000000 00000078 0a000065 0a00000a 0a00010c",
    # its template
    "00 06 0024 00001100 0001 0000 0051 1f90 00000000 0000003c 0a000065 0a00000a 0a00010c",
    # template of the SIP engine: 49 bytes
    "00 11 0031 00001100 0000 0000 13c4 13c4 00000000 0000003c 0a000065 0a00000a 0a00010c",
    # PE_DATA "a1@lvs", PE_NAME "sip"; three zeros before the next entry
    "02 06 6131406c7673 03 03 736970 000000",
    "00 11 0031 00001100 0000 0000 13c4 13c4 00000000 0000003c 0a000065 0a00000a 0a00010c",
    "02 06 6131406c7673 03 03 736970 000000",
    # UDP 04:56 UDP 10.0.0.101:15060
    "00 11 0024 00000100 0000 3ad4 13c4 13c4 00000000 0000012c 0a000065 0a00000a 0a00010c",
    "00 11 0031 00001100 0000 0000 13c4 13c4 00000000 0000003c 0a000065 0a00000a 0a00010c",
    "02 06 6131406c7673 03 03 736970 000000",
    # UDP 00:56 NONE 10.0.0.101:0
    "00 11 0031 00001100 0000 0000 13c4 13c4 00000000 0000003c 0a000065 0a00000a 0a00010c",
    "02 06 6131406c7673 03 03 736970",  # and nothing behind the last
)

RECORDED_V0 = raw(
    "04 01 0064",  # 4 connections, syncid 1, size 100
    "00 06 aa20 0050 1f90 0a000065 0a00000a 0a00010c 0100 0007",  # flags INACTIVE, CLOSE_WAIT
    "00 06 aa2c 0050 1f90 0a000065 0a00000a 0a00010b 0100 0007",
    "00 06 aa20 0050 1f90 0a000065 0a00000a 0a00010c 0100 0005",  # flags INACTIVE, TIME_WAIT
    "00 06 aa2c 0050 1f90 0a000065 0a00000a 0a00010b 0100 0005",
)

RECORDED_V6 = raw(
    "00 01 0050 01 01 0000",  # size 80, one connection, version 1
    # TCP 14:57 ESTABLISHED [fd00::101]:56820 [fd00::10]:80 [fd01::11]:8081
    "01 06 0048 00000000 0001 ddf4 0050 1f91 00000000 00000384",
    "fd000000000000000000000000000101 fd000000000000000000000000000010 fd010000000000000000000000000011",
)


def renewed(message: Any) -> bytes:
    """The bytes of a message made from its fields alone, lengths and counts computed again."""
    fresh = message.copy()
    fresh.clear_cache()
    for field in ("size", "nr_conns"):
        fresh.delfieldval(field)
    for entry in fresh.conns:
        entry.clear_cache()
        if "ver_size" in entry.fields:
            entry.delfieldval("ver_size")
        for option in getattr(entry, "options", []):
            option.clear_cache()
    return bytes(fresh)


# -- GUE -------------------------------------------------------------------------------------------
# Recorded from Linux 6.1.176: `ipvsadm -a -t 10.0.0.10:84 -r 10.0.1.11:84 -i --tun-type gue --tun-port 6080`, a client's SYN.  # noqa: E501, W505

GUE_PLAIN = raw(
    "4500005c000040003f1125860a0001010a00010b",  # 10.0.1.1 → 10.0.1.11, UDP
    "bfca 17c0 0048 2661",  # to port 6080; --tun-csum
    "00 04 0000",  # version 0, hlen 0, proto 4 (IPv4), no flags
    "4500003c4e7540003f06d8d80a0000650a00000a97a8005464ed06f600000000a002faf0f5900000020405b40402080a57dee74e000000000103030a",
)
GUE_REMCSUM = raw(
    "45000064000040003f11257e0a0001010a00010b",
    "b396 17c0 0050 166d",  # --tun-remcsum
    "02 04 0001",  # version 0, hlen 2, proto 4, flag PRIV
    "80000000",  # private flags: remote checksum offload
    "0014 0024",  # csum_start 20: the TCP header; csum_offset 36: 16 bytes into it
    "4500003cc7c940003f065f840a0000650a00000aaab2005503ec6c1100000000a002faf0149d0000020405b40402080a81461a30000000000103030a",
)
