"""Asks a web server again and again, and prints how often it was answered: ADDRESS PORT SECONDS."""

from __future__ import annotations

import socket
import sys
import time


def main(address: str, port: int, seconds: float) -> None:
    until, asked = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with socket.create_connection((address, port), 5) as sock:
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while sock.recv(65536):
                pass
        asked += 1
    print(asked)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
