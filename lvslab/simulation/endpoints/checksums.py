"""The Internet checksum (RFC 1071).

A sum of 16-bit words with end-around carry is the number that the octets are, modulo 65535: one
division of a long integer, many times as fast here as a loop over words.
"""

from __future__ import annotations


def checksum(data: bytes) -> int:
    """Of data that is not all zero. Over data that holds its own right checksum it is 0."""
    number = int.from_bytes(data, "big")
    return -(number << 8 if len(data) & 1 else number) % 0xFFFF


def transport_checksum(source: bytes, destination: bytes, protocol: int, segment: bytes) -> int:
    """With the pseudo-header of IPv4 or IPv6, which differ in zeros only (RFC 9293, 3.1;
    RFC 8200, 8.1). Over a segment that holds its own right checksum it is 0.
    """
    length = len(segment)
    number = int.from_bytes(source + destination + segment, "big")
    return -((number << 8 if length & 1 else number) + protocol + length) % 0xFFFF
