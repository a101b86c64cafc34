"""The latency probe: a program of its own, run in a client's namespace; needs nothing but the
standard library.

usage: latency.py ADDRESS PORT COUNT

Sends COUNT requests, one after the other, each over a new connection, and prints {"seconds": […],
"servers": […], "failed": n}. Seconds run from before connect(2) to the end of the answer.
"""

import json
import socket
import sys
import time

TIMEOUT = 2.0
"""Seconds after which a request counts as failed."""


def ask(address: str, port: int) -> tuple[float, str]:
    """One request; returns its seconds and the first word of the answer, the server's name."""
    start = time.perf_counter()
    with socket.create_connection((address, port), timeout=TIMEOUT) as sock:
        sock.sendall(f"GET / HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
    seconds = time.perf_counter() - start
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise OSError(f"unexpected answer: {head[:80]!r}")
    return seconds, body.split()[0].decode()


def main() -> None:
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    seconds: list[float] = []
    servers: list[str] = []
    failed = 0
    for _ in range(count):
        try:
            took, server = ask(address, port)
        except OSError:
            failed += 1
            continue
        seconds.append(took)
        servers.append(server)
    print(json.dumps({"seconds": seconds, "servers": servers, "failed": failed}))


if __name__ == "__main__":
    main()
