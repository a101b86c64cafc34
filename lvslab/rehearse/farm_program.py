"""The program behind the real servers of a rehearsal: it answers at many addresses and ports, each
breakable by itself.

It is started by its file's path, in a namespace or in a guest that sees Python's standard library
only, so it imports nothing else. Its first argument names a JSON file: a list of listeners, each

    {"id": 3, "device": "s3" or null, "address": "10.1.0.11", "port": 80, "protocol": "tcp",
     "speaks": "http", "name": "10.1.0.11:80", "pages": {"/ping": [200, "text"]},
     "certificate": "farm.pem" or null}

Commands come on standard input, a line each: `killed 3`, `hung 3`, `up 3`, with as many numbers as
wanted; each is answered by `done`. It prints "started" when all listeners stand, and ends when its
standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import sys
from pathlib import Path
from typing import Any

BACKLOG = 512
IDLE_SECONDS = 60.0
"""After so long without a word from its client a connection is closed."""

DNS_ANSWER_SECONDS = 1

GREETINGS = {
    "tcp": "{name}\r\n",
    "smtp": "220 {name} ESMTP\r\n",
    "ftp": "220 {name} FTP\r\n",
}
"""What a server says first. Every greeting holds the server's name, by which users tell who
answered.
"""

REPLIES = {
    "smtp": {"QUIT": "221 bye\r\n", "EHLO": "250 {name}\r\n", "HELO": "250 {name}\r\n"},
    "ftp": {
        "QUIT": "221 bye\r\n",
        "USER": "331 password\r\n",
        "PASS": "230 in\r\n",
        "PWD": '257 "/"\r\n',
        "TYPE": "200 yes\r\n",
        "NOOP": "200 yes\r\n",
    },
}
"""To commands, by their first word; "250" or "200" to all others."""


class Listener:
    """One address and port of one server.

    Attributes:
        state: "up", "killed" (nobody listens: RST or ICMP) or "hung" (connections are taken and
            nothing is answered).
    """

    def __init__(self, said: dict[str, Any], folder: Path) -> None:
        self.said, self.state = said, "up"
        self.name: str = said["name"]
        self.address: str = said.get("pages", {}).get("A", [0, ""])[1]
        self._tls: ssl.SSLContext | None = None
        if said.get("certificate"):
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(folder / said["certificate"])
        self._server: asyncio.Server | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def become(self, state: str) -> None:
        """Be up, killed or hung from now on. What was connected to a killed server is reset."""
        self.state = state
        if state == "killed":
            if self._server is not None:
                self._server.close()
                self._server = None
            if self._datagrams is not None:
                self._datagrams.close()
                self._datagrams = None
            for writer in list(self._open):
                writer.transport.abort()
        elif self._server is None and self._datagrams is None:
            await self.listen()

    async def listen(self) -> None:
        sock = self._socket()
        if self.said["protocol"] == "udp":
            loop = asyncio.get_running_loop()
            self._datagrams, _ = await loop.create_datagram_endpoint(lambda: Datagrams(self), sock=sock)
        else:
            self._server = await asyncio.start_server(self._serve, sock=sock, backlog=BACKLOG, ssl=self._tls)

    def _socket(self) -> socket.socket:
        said = self.said
        family = socket.AF_INET6 if ":" in said["address"] else socket.AF_INET
        kind = socket.SOCK_DGRAM if said["protocol"] == "udp" else socket.SOCK_STREAM
        sock = socket.socket(family, kind)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if said.get("device"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, said["device"].encode())
            sock.bind((said["address"], said["port"]))
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise SystemExit(f"{said['address']} port {said['port']}: {error.strerror}") from None
        return sock

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await asyncio.wait_for(self._speak(reader, writer), IDLE_SECONDS)
        except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError):
            pass  # the client went away, or said nothing for long
        finally:
            self._open.discard(writer)
            writer.close()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.state == "hung":
            await asyncio.sleep(IDLE_SECONDS)
            return
        if self.said["speaks"] == "http":
            await self._http(reader, writer)
        elif self.said["speaks"] == "dns":
            length = struct.unpack("!H", await reader.readexactly(2))[0]
            answer = dns_answer(await reader.readexactly(length), self.name, self.address)
            writer.write(struct.pack("!H", len(answer)) + answer)
        else:
            await self._lines(reader, writer)
        await writer.drain()

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode(errors="replace"):
            words = line.split()
            close = "HTTP/1.1" not in line
            while (header := (await reader.readline()).decode(errors="replace").strip()) != "":
                close |= header.lower() == "connection: close"
            path = words[1] if len(words) > 1 else "/"
            status, body = self.said.get("pages", {}).get(path, [200, f"{self.name}\n"])
            if self.state == "hung":
                await asyncio.sleep(IDLE_SECONDS)
                return
            content = body.encode()
            writer.write(
                (
                    f"HTTP/1.1 {status} {'OK' if status < 400 else 'as asked'}\r\n"
                    f"X-Server: {self.name}\r\nContent-Type: text/plain\r\n"
                    f"Content-Length: {len(content)}\r\n"
                    f"Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
                ).encode()
                + (b"" if words[:1] == ["HEAD"] else content)
            )
            await writer.drain()
            if close:
                return

    async def _lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        speaks = self.said["speaks"]
        writer.write(GREETINGS.get(speaks, GREETINGS["tcp"]).format(name=self.name).encode())
        await writer.drain()
        replies = REPLIES.get(speaks, {})
        while line := await reader.readline():
            if self.state == "hung":
                await asyncio.sleep(IDLE_SECONDS)
                return
            word = line.decode(errors="replace").split()[:1]
            usual = {"smtp": "250 yes\r\n", "ftp": "200 yes\r\n"}.get(speaks, "{name}\r\n")
            reply = replies.get(word[0].upper() if word else "", usual)
            writer.write(reply.format(name=self.name).encode())
            await writer.drain()
            if word and word[0].upper() == "QUIT":
                return


class Datagrams(asyncio.DatagramProtocol):
    """Answers each datagram with the server's name, or a DNS question with its address."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        if self._listener.state != "up":
            return
        dns = self._listener.said["speaks"] == "dns"
        own = self._listener
        answer = dns_answer(data, own.name, own.address) if dns else own.name.encode()
        self._transport.sendto(answer, address)  # type: ignore[attr-defined]


def dns_answer(question: bytes, name: str, address: str = "") -> bytes:
    """An answer to whatever was asked (RFC 1035, section 4): the server's name as a TXT record, so
    that a check gets NOERROR and a user sees who answered; and an IPv4 address, if there is one, in
    front of it.
    """
    if len(question) < 12:
        return question
    end = 12
    while end < len(question) and question[end]:
        end += question[end] + 1
    end += 5
    text = name.encode()[:255]
    records = [(1, socket.inet_aton(address))] if address else []
    records.append((16, bytes([len(text)]) + text))
    header = question[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0)
    return (
        header
        + question[12:end]
        + b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, DNS_ANSWER_SECONDS, len(data)) + data
            for kind, data in records
        )
    )


async def main(file: Path) -> None:
    listeners = {each["id"]: Listener(each, file.parent) for each in json.loads(file.read_text())}
    for listener in listeners.values():
        await listener.listen()
    print("started", flush=True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode().split():
        for number in line[1:]:
            await listeners[int(number)].become(line[0])
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
