"""The gate of the web application: every request and every WebSocket passes it, and who has no
session sees nothing but the page of a link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lvslab.classroom.access import Access

COOKIE = "lvslab_session"
MEMBER = "lvslab.member"
"""Where a request's scope has the id of the member it comes from."""

_OPEN = ("/join/", "/static/", "/favicon.ico")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self'"
        b" 'unsafe-inline'; img-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none';"
        b" base-uri 'none'; form-action 'self'; object-src 'none'",
    ),
]


class Gate:
    """Lets through what belongs to a member, and writes into it to whom it belongs."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        owner: Callable[[str], str | None],
        hosts: frozenset[str],
    ) -> None:
        """`owner` says to whom a page belongs, by the number under which its browser comes back for
        it; `hosts` are the names under which this server may be asked, none for any.
        """
        self._app, self._access, self._owner, self._hosts = app, access, owner, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        member = self._access.member(session_of(headers))
        refusal = self._refusal(scope, headers, member)
        if refusal and scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif refusal:
            code, text = refusal
            await PlainTextResponse(text, code)(scope, receive, _with_headers(send))
        else:
            await self._app({**scope, MEMBER: member}, receive, _with_headers(send))

    def _refusal(
        self, scope: Scope, headers: Mapping[str, str], member: str | None
    ) -> tuple[int, str] | None:
        """Status and text for what may not pass."""
        host = headers.get("host", "")
        name = urlsplit(f"//{host}").hostname or ""
        if self._hosts and name not in self._hosts:
            return 421, "this server has another name\n"
        origin = headers.get("origin")
        # a form's origin is "null" under this server's own referrer policy
        unsaid = (None, "null") if scope["type"] == "http" else ()
        if origin not in unsaid and urlsplit(origin or "").netloc != host:
            return 403, "this page belongs to another server\n"
        path = str(scope["path"])
        if path.startswith(_OPEN) and scope["type"] == "http":
            return None
        if member is None:
            return 401, "Your session has ended, or you have none: ask your instructor for a link.\n"
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        for client in query.get("client_id", []):
            if self._owner(client) not in (None, member):  # a page that is gone says so itself
                return 403, "this page belongs to somebody else\n"
        return None


def session_of(headers: Mapping[str, str]) -> str:
    """The secret of the session in a request's cookie, or ""."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _with_headers(send: Send) -> Send:
    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
        await send(message)

    return sent
