"""A program of its own: sends data over one TCP connection, as `socat -u - TCP:ADDRESS:PORT` would.

usage: send_program.py ADDRESS PORT SECONDS DATA, in hexadecimal
"""

import socket
import sys


def main(address: str, port: int, seconds: float, data: bytes) -> None:
    with socket.create_connection((address, port), timeout=seconds) as connection:
        connection.sendall(data)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), bytes.fromhex(sys.argv[4]))
