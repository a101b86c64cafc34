"""What a student did in a lab, as a file that only grows: an event a line, each signed together
with all that stand before it, so that a line which was changed, added or taken out by hand is
noticed.

What a chain cannot show by itself is that its last lines were cut off.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "events.jsonl"
_START = "lvslab"
"""What the first event is signed together with."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        at: seconds since 1970.
        what: "started", "point", "hint", "solution", "check", "passed", "reset", "stopped",
            "command".
        facts: what belongs to it.
    """

    at: float
    what: str
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Account:
    """A ledger that was read.

    Attributes:
        events: up to the first line that is not as it was written.
        trouble: what is wrong with that line, or "".
    """

    events: tuple[Event, ...] = ()
    trouble: str = ""


class Ledger:
    """A ledger that is being written. Its writer is the only one."""

    def __init__(self, file: Path, key: bytes) -> None:
        """Go on with a file, or begin it. A last line that was cut off in the middle, as by a power
        cut, is taken away.
        """
        self._file, self._key = file, key
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):
            data = file.read_bytes()
            if data and not data.endswith(b"\n"):
                os.truncate(file, data.rfind(b"\n") + 1)
        self._last = next(reversed([line.get("sign", "") for line in _lines(file)]), _START)

    def note(self, what: str, **facts: Any) -> None:
        """Add an event that happens now."""
        body = {"at": round(time.time(), 3), "what": what, **facts}
        self._last = sign(self._key, self._last, body)
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps({**body, "sign": self._last}, ensure_ascii=False) + "\n")


def sign(key: bytes, last: str, body: Mapping[str, Any]) -> str:
    """The signature of an event that follows on one with the signature `last` (HMAC, RFC 2104)."""
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return hmac.new(key, f"{last}\n{text}".encode(), hashlib.sha256).hexdigest()


def read(file: Path, key: bytes) -> Account:
    """What happened, as far as it is as it was written; nothing where there is no file."""
    events: list[Event] = []
    last = _START
    for number, line in enumerate(_lines(file), start=1):
        body = {name: value for name, value in line.items() if name != "sign"}
        expected = sign(key, last, body)
        given = str(line.get("sign", ""))
        if not hmac.compare_digest(expected.encode(), given.encode()):
            return Account(tuple(events), f"{file.name}, line {number}: was not written by the lab")
        last = expected
        events.append(Event(float(body.pop("at")), str(body.pop("what")), body))
    return Account(tuple(events))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            value = {}
        yield value if isinstance(value, dict) else {}


def key_of(place: Path) -> bytes:
    """The key with which ledgers below a folder are signed; made where there is none."""
    file = place / ".key"
    with suppress(FileNotFoundError):
        return bytes.fromhex(file.read_text())
    keep_key(place, secrets.token_bytes(32))
    return bytes.fromhex(file.read_text())


def keep_key(place: Path, key: bytes) -> None:
    """Sign with this key below a folder that has none yet."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):
        handle = os.open(place / ".key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as out:
            out.write(key.hex())


def folder(place: Path, lab: str) -> Path:
    """Where the ledger and the transcripts of a lab lie."""
    return place / ".records" / lab


def accounts(place: Path) -> dict[str, Account]:
    """Lab → what happened in it, of all labs that have a ledger below a folder."""
    files = sorted((place / ".records").glob(f"*/{FILE}"))
    return {file.parent.name: read(file, key_of(place)) for file in files}
