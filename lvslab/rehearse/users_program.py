"""The users of a rehearsal: one program that asks every service at its own rate, and holds lasting
connections to it, and writes down what came of each.

Its argument names a JSON file: {"seconds": 60, "services": [{"address":
"10.0.0.10", "port": 80, "protocol": "tcp", "speaks": "http", "path": "/", "tls": false, "sources":
["198.51.100.2"], "rate": 10, "timeout": 0.9, "connections": 5, "heartbeat": 0.5, "attempts":
"1.csv", "beats": "1.beats.csv"}, …]}. The files have the prober's columns (docs/run-directory.md).
It prints "started", and ends when its standard input is closed or the seconds are over; its last
line is a JSON object.
"""

from __future__ import annotations

import asyncio
import errno
import json
import re
import ssl
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ATTEMPTS = "planned,start,connect,first_byte,end,local_port,server,outcome\n"
BEATS = "connection,opened,local_port,planned,sent,answered,server,outcome\n"

_NAME = re.compile(rb"(?<![\w.:\[])(\[[0-9a-f:]+\]:\d+|\d+\.\d+\.\d+\.\d+:\d+)")
"""A server's name in whatever it said (`lvslab.rehearse.farm_program`)."""

_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
    errno.ETIMEDOUT: "timeout",
}

_QUESTION = struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + b"\x03who\x00" + struct.pack("!HH", 16, 1)


class Wrong(Exception):
    """An answer that no server of the rehearsal gives."""


class Conversation:
    """One connection to a service."""

    def __init__(self, service: dict[str, Any], number: int) -> None:
        self._service, self.source = service, service["sources"][number % len(service["sources"])]
        self.connected: float | None = None
        self.first_byte: float | None = None
        self.local_port: int | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._greeted = False

    async def open(self) -> None:
        service = self._service
        self._reader, self._writer = await asyncio.open_connection(
            service["address"],
            service["port"],
            ssl=_any_certificate() if service["tls"] else None,
            local_addr=(self.source, 0),
        )
        self.connected = time.time()
        self.local_port = self._writer.get_extra_info("sockname")[1]

    async def ask(self, last: bool) -> str:
        """Ask once; returns the name of the server that answered."""
        assert self._reader is not None and self._writer is not None
        speaks = self._service["speaks"]
        if speaks == "http":
            host = f"Host: {self._service['host']}\r\n"
            close = "Connection: close\r\n" if last else ""
            self._writer.write(f"GET {self._service['path']} HTTP/1.1\r\n{host}{close}\r\n".encode())
            head = await self._hear(self._reader.readuntil(b"\r\n\r\n"))
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            await self._reader.readexactly(int(length[1]) if length else 0)
            return _name(head)
        if speaks == "dns":
            self._writer.write(struct.pack("!H", len(_QUESTION)) + _QUESTION)
            size = struct.unpack("!H", await self._hear(self._reader.readexactly(2)))[0]
            return _name(await self._reader.readexactly(size))
        if not self._greeted:
            self._greeted = True
            greeting = await self._hear(self._reader.readuntil(b"\n"))
            if last:
                self._writer.write(b"QUIT\r\n")
            return _name(greeting)
        self._writer.write(b"NOOP\r\n" if speaks in ("smtp", "ftp") else b"who\r\n")
        answer = await self._hear(self._reader.readuntil(b"\n"))
        return "" if speaks in ("smtp", "ftp") else _name(answer)

    async def _hear(self, answer: Any) -> bytes:
        said: bytes = await answer
        if self.first_byte is None:
            self.first_byte = time.time()
        return said

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Answer(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, address: Any) -> None:
        if not self.heard.done():
            self.heard.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.heard.done():
            self.heard.set_exception(error)


async def ask_by_datagram(service: dict[str, Any], conversation: Conversation) -> str:
    """One question and its answer over UDP."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        _Answer, remote_addr=(service["address"], service["port"]), local_addr=(conversation.source, 0)
    )
    try:
        conversation.local_port = transport.get_extra_info("sockname")[1]
        transport.sendto(_QUESTION if service["speaks"] == "dns" else b"who")
        answer = await protocol.heard
        conversation.first_byte = time.time()
        return _name(answer)
    finally:
        transport.close()


def _name(said: bytes) -> str:
    found = _NAME.search(said)
    if found is None:
        raise Wrong
    return found[1].decode()


def _any_certificate() -> ssl.SSLContext:
    """TLS that believes any certificate: which one a server has is not the question here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _outcome(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, asyncio.IncompleteReadError | ssl.SSLError):
        return "reset"
    if isinstance(error, OSError):
        return _OUTCOMES.get(error.errno or 0, "local")
    return "wrong"


async def attempt(service: dict[str, Any], number: int, planned: float, out: IO[str]) -> bool:
    """One new user, served or not; the row is written when that is known."""
    start, conversation, server, outcome = time.time(), Conversation(service, number), "", "ok"
    try:
        server = await asyncio.wait_for(_served(service, conversation), service["timeout"])
    except (TimeoutError, OSError, Wrong, asyncio.IncompleteReadError, ValueError) as error:
        outcome = _outcome(error)
    finally:
        conversation.close()
    row = (
        f"{planned:.6f}",
        f"{start:.6f}",
        _time(conversation.connected),
        _time(conversation.first_byte),
        f"{time.time():.6f}",
        str(conversation.local_port or ""),
        server,
        outcome,
    )
    out.write(",".join(row) + "\n")
    return outcome == "ok"


async def _served(service: dict[str, Any], conversation: Conversation) -> str:
    if service["protocol"] == "udp":
        return await ask_by_datagram(service, conversation)
    await conversation.open()
    return await conversation.ask(last=True)


async def lasting(service: dict[str, Any], number: int, out: IO[str]) -> None:
    """A connection that asks again and again until it breaks."""
    conversation, opened, server = Conversation(service, number), None, ""
    planned = time.time()
    while True:
        sent, answered, outcome = time.time(), None, "ok"
        try:
            if opened is None:
                await asyncio.wait_for(conversation.open(), service["beat_timeout"])
                opened = conversation.connected
            said = await asyncio.wait_for(conversation.ask(last=False), service["beat_timeout"])
            server, answered = said or server, time.time()
        except asyncio.CancelledError:
            conversation.close()
            raise
        except (TimeoutError, OSError, Wrong, asyncio.IncompleteReadError, ValueError) as error:
            outcome = _outcome(error)
        row = (
            str(number),
            _time(opened),
            str(conversation.local_port or ""),
            f"{planned:.6f}",
            f"{sent:.6f}",
            _time(answered),
            server,
            outcome,
        )
        out.write(",".join(row) + "\n")
        if outcome != "ok":
            conversation.close()
            return
        planned += service["heartbeat"]
        await asyncio.sleep(max(0.0, planned - time.time()))


def _time(t: float | None) -> str:
    return "" if t is None else f"{t:.6f}"


async def ask_for_ever(service: dict[str, Any], offset: float, out: IO[str], totals: dict[str, int]) -> None:
    """New users at a steady rate, whatever becomes of those before (open loop)."""
    tasks: set[asyncio.Task[bool]] = set()
    begin, interval, number = time.time() + offset, 1 / service["rate"], 0
    try:
        while True:
            planned = begin + number * interval
            await asyncio.sleep(max(0.0, planned - time.time()))
            task = asyncio.ensure_future(attempt(service, number, planned, out))
            tasks.add(task)
            task.add_done_callback(lambda done: tasks.discard(done))
            number += 1
            totals["attempts"] += 1
    finally:
        if tasks:
            await asyncio.wait(tasks, timeout=service["timeout"] + 0.5)


async def main(file: Path) -> None:
    plan = json.loads(file.read_text())
    totals = {"attempts": 0}
    outs: list[IO[str]] = []
    work: list[asyncio.Task[None]] = []

    def out(name: str, head: str) -> IO[str]:
        stream = (file.parent / name).open("w")
        stream.write(head)
        outs.append(stream)
        return stream

    services = plan["services"]
    for index, service in enumerate(services):
        offset = index / len(services) / service["rate"]
        attempts = out(service["attempts"], ATTEMPTS)
        work.append(asyncio.ensure_future(ask_for_ever(service, offset, attempts, totals)))
        if service["connections"]:
            beats = out(service["beats"], BEATS)
            for number in range(1, service["connections"] + 1):
                work.append(asyncio.ensure_future(lasting(service, number, beats)))
    print("started", flush=True)
    loop = asyncio.get_running_loop()
    told = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    end = time.time() + plan["seconds"]
    while time.time() < end and not told.at_eof():
        with suppress(TimeoutError):
            await asyncio.wait_for(told.read(1), 0.2)
        for stream in outs:
            stream.flush()
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    for stream in outs:
        stream.close()
    print(json.dumps(totals), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
