"""The kernel's hash functions, and the tables that sh, dh and mh make of their servers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address
from itertools import cycle, islice
from math import gcd

from lvslab.conformance.models.servers import Server

_U32 = 0xFFFFFFFF
_U64 = 0xFFFFFFFFFFFFFFFF

SH_SLOTS = 256
"""Size of the tables of sh and dh: CONFIG_IP_VS_SH_TAB_BITS and CONFIG_IP_VS_DH_TAB_BITS are 8 by
default.
"""
MH_SLOTS = 4093
"""Size of the table of mh: CONFIG_IP_VS_MH_TAB_INDEX is 12 by default, which is the prime 4093."""
_MH_WEIGHT_BITS = 6
_MH_KEY_1, _MH_KEY_2 = 2654435761, 2654446892


# -- hash functions --------------------------------------------------------------------------------


def folded(address: str, version: int = 6) -> int:
    """An address as the 32 bits that are hashed: IPv6 is the exclusive or of its four words.

    Args:
        version: of the service. One of IPv4 takes the first word of whatever address there is, an
            IPv6 server's too (ip_vs_mh_permutate in ip_vs_mh.c reads `svc->af`).
    """
    packed = ip_address(address).packed[: 4 if version == 4 else None]
    value = 0
    for start in range(0, len(packed), 4):
        value ^= int.from_bytes(packed[start : start + 4], "big")
    return value


def hash_32(value: int, bits: int) -> int:
    """The kernel's multiplicative hash, linux/hash.h: the upper bits of the product with the golden
    ratio.
    """
    return ((value * 0x61C88647) & _U32) >> (32 - bits)


def hsiphash(value: int, key: int) -> int:
    """The kernel's hsiphash of a 32-bit word, the key being twice `key`; on 64-bit kernels
    SipHash-1-3, its lower 32 bits.
    """
    v0, v1 = 0x736F6D6570736575 ^ key, 0x646F72616E646F6D ^ key
    v2, v3 = 0x6C7967656E657261 ^ key, 0x7465646279746573 ^ key
    word = 4 << 56 | value & _U32

    def turn() -> None:
        nonlocal v0, v1, v2, v3
        v0 = (v0 + v1) & _U64
        v1 = _rotated(v1, 13) ^ v0
        v0 = _rotated(v0, 32)
        v2 = (v2 + v3) & _U64
        v3 = _rotated(v3, 16) ^ v2
        v0 = (v0 + v3) & _U64
        v3 = _rotated(v3, 21) ^ v0
        v2 = (v2 + v1) & _U64
        v1 = _rotated(v1, 17) ^ v2
        v2 = _rotated(v2, 32)

    v3 ^= word
    turn()
    v0 ^= word
    v2 ^= 0xFF
    for _ in range(3):
        turn()
    return (v0 ^ v1 ^ v2 ^ v3) & _U32


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _U64


def sh_slot(address: str, port: int = 0, offset: int = 0) -> int:
    """Where sh (source) and dh (destination, no port) look an address up."""
    return (offset + hash_32((port + folded(address)) & _U32, 8)) % SH_SLOTS


def mh_slot(address: str, port: int = 0, offset: int = 0) -> int:
    """Where mh looks a source up."""
    return hsiphash(offset + port + folded(address), _MH_KEY_1) % MH_SLOTS


# -- tables ----------------------------------------------------------------------------------------


def sh_table(servers: Sequence[Server]) -> list[Server]:
    """sh's table: servers in turn, each in as many slots in a row as its weight; one of weight 0
    has one slot all the same.
    """
    turn = [server for server in servers for _ in range(max(server.weight, 1))]
    return list(islice(cycle(turn), SH_SLOTS)) if turn else []


def dh_table(servers: Sequence[Server]) -> list[Server]:
    """dh's table: servers in turn, whatever their weights."""
    return list(islice(cycle(servers), SH_SLOTS)) if servers else []


def mh_table(servers: Sequence[Server]) -> list[Server]:
    """mh's table after Maglev: in turn, each server takes the next free slots of its own
    permutation, as many as its weight.

    The weights are the last ones that were not 0, divided by their greatest common divisor, the
    largest cut to six bits.
    """
    step = gcd(*(server.last_weight for server in servers))
    if step == 0:
        return []
    shift = max((max(server.last_weight for server in servers) // step).bit_length() - _MH_WEIGHT_BITS, 0)
    takers = [server for server in servers if server.last_weight]
    turns = [(server.last_weight // step >> shift) or 1 for server in takers]
    names = [server.port + folded(server.address, server.service_version) for server in takers]
    return [takers[taker] for taker in _mh_takers(tuple(turns), tuple(names))]


@lru_cache(maxsize=256)
def _mh_takers(turns: Sequence[int], names: Sequence[int]) -> Sequence[int]:
    """Who takes each slot, by its place among the takers; a model and whatever is held against it
    ask for the same tables.
    """
    places = [hsiphash(name, _MH_KEY_1) % MH_SLOTS for name in names]
    skips = [hsiphash(name, _MH_KEY_2) % (MH_SLOTS - 1) + 1 for name in names]
    table = [-1] * MH_SLOTS
    free = MH_SLOTS
    for taker in cycle(range(len(names))):
        for _ in range(min(turns[taker], free)):
            while table[places[taker]] >= 0:
                places[taker] = (places[taker] + skips[taker]) % MH_SLOTS
            table[places[taker]] = taker
            free -= 1
        if not free:
            break
    return tuple(table)
