"""Who may come in: links that work once, and the sessions of browsers that came with one.

Neither lies in a file as it is: what is kept are hashes, so that whoever reads the files cannot
come in with them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_LINK_DAYS = 14


class Access:
    """The links and sessions of a course, kept in a file that survives the server."""

    def __init__(self, file: Path, session_hours: int, now: Callable[[], float] = time.time) -> None:
        self._file, self._seconds, self._now = file, session_hours * 3600.0, now
        self._lock = threading.Lock()
        self._read_at = 0
        self._kept: dict[str, dict[str, Any]] = {"links": {}, "sessions": {}}

    def new_link(self, member: str) -> str:
        """A secret that lets a member in once; an earlier one of hers that was not used is void."""
        secret = secrets.token_urlsafe(24)
        with self._holding():
            links = self._kept["links"]
            for old in [name for name, link in links.items() if link["member"] == member]:
                del links[old]
            links[_hash(secret)] = {"member": member, "until": self._now() + _LINK_DAYS * 86400}
            self._save()
        return secret

    def is_link(self, secret: str) -> bool:
        """Whether a link would let somebody in now."""
        self._look()
        link = self._kept["links"].get(_hash(secret))
        return link is not None and link["until"] > self._now()

    def enter(self, secret: str) -> str | None:
        """Use a link: the secret of a new session, or None if the link is void."""
        with self._holding():
            link = self._kept["links"].pop(_hash(secret), None)
            if link is None or link["until"] <= self._now():
                return None
            session = secrets.token_urlsafe(32)
            self._kept["sessions"][_hash(session)] = {
                "member": link["member"],
                "until": self._now() + self._seconds,
            }
            self._save()
        return session

    def member(self, session: str) -> str | None:
        """Whose session this is; None if it is none, or has ended."""
        self._look()
        kept = self._kept["sessions"].get(_hash(session))
        return str(kept["member"]) if kept and kept["until"] > self._now() else None

    def leave(self, session: str) -> None:
        """End a session."""
        with self._holding():
            self._kept["sessions"].pop(_hash(session), None)
            self._save()

    def expel(self, member: str) -> None:
        """End all sessions of a member."""
        with self._holding():
            sessions = self._kept["sessions"]
            for name in [name for name, kept in sessions.items() if kept["member"] == member]:
                del sessions[name]
            self._save()

    @contextmanager
    def _holding(self) -> Iterator[None]:
        """The file, for a change: a command that makes links may run beside the server."""
        with self._lock, self._file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._look()
            yield

    def _look(self) -> None:
        with suppress(FileNotFoundError):
            changed = self._file.stat().st_mtime_ns
            if changed != self._read_at:
                self._kept, self._read_at = json.loads(self._file.read_text()), changed

    def _save(self) -> None:
        now = self._now()
        for kind, kept in self._kept.items():
            self._kept[kind] = {name: entry for name, entry in kept.items() if entry["until"] > now}
        temporary = self._file.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as out:
            json.dump(self._kept, out)
        temporary.replace(self._file)


def _hash(secret: str) -> str:
    """Secrets are long and random, so a plain hash tells nothing about them."""
    return hashlib.sha256(secret.encode()).hexdigest()
