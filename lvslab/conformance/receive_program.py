"""A program of its own: takes one TCP connection and prints what arrives in it, in hexadecimal; as
`socat -u TCP-LISTEN:PORT,reuseaddr -` would.

usage: receive_program.py PORT SECONDS; it prints "listening" first
"""

import socket
import sys
import time

_TRIES = 100


def main(port: int, seconds: float) -> None:
    with _listener(port) as listener:
        listener.settimeout(seconds)
        print("listening", flush=True)
        connection, _ = listener.accept()
        connection.settimeout(seconds)
        data = b""
        while part := connection.recv(65536):
            data += part
        print(data.hex(), flush=True)


def _listener(port: int) -> socket.socket:
    """The web server that had the port may keep it for a moment after its end."""
    for _ in range(_TRIES - 1):
        try:
            return socket.create_server(("", port))
        except OSError:
            time.sleep(0.02)
    return socket.create_server(("", port))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
