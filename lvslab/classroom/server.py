"""The web application: one process, one machine, no file from elsewhere."""

from __future__ import annotations

import html
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from fastapi import FastAPI, Request
from nicegui import app as pages
from nicegui import ui
from nicegui.language import Language
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from lvslab.classroom.export import archive
from lvslab.classroom.gate import COOKIE, MEMBER, Gate, session_of
from lvslab.classroom.instructor import InstructorPage
from lvslab.classroom.room import INSTRUCTOR, Room
from lvslab.classroom.student import StudentPage
from lvslab.errors import UsageError

_LOST_SECONDS = 60.0
"""A connection that is lost for less is taken up again; after more the page loads anew."""

_STATIC = Path(__file__).resolve().parent / "static"


@dataclass(frozen=True)
class Place:
    """Where a classroom is to be reached.

    Attributes:
        address, port: where it listens.
        certificate, key: files for TLS.
        proxy: name under which a proxy with TLS in front of it is reached.
    """

    address: str = "127.0.0.1"
    port: int = 8080
    certificate: Path | None = None
    key: Path | None = None
    proxy: str | None = None

    def check(self) -> None:
        """Other machines may reach it over TLS alone.

        Raises:
            UsageError: they could without, or a file is missing.
        """
        try:
            loopback = ip_address(self.address).is_loopback
        except ValueError as error:
            raise UsageError(f"--address {self.address}: is no address of this machine") from error
        if (self.certificate is None) != (self.key is None):
            raise UsageError("--certificate and --key belong together: name both")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise UsageError(f"{file}: no such file")
        if self.certificate and self.key:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.certificate, self.key)
            except (ssl.SSLError, OSError) as error:
                raise UsageError(f"{self.certificate}, {self.key}: do not serve for TLS: {error}") from error
        if not loopback and not self.certificate and not self.proxy:
            raise UsageError(
                f"--address {self.address}: other machines could reach the classroom, and all that is typed"
                " would be readable on the way; give --certificate and --key, or name the proxy in front"
                " of it that does TLS: --behind-proxy NAME"
            )

    @property
    def url(self) -> str:
        """Its address in a browser."""
        if self.proxy:
            return f"https://{self.proxy}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}"

    @property
    def is_tls(self) -> bool:
        return self.url.startswith("https:")

    @property
    def hosts(self) -> frozenset[str]:
        """Names under which it may be asked, so that no other name can be made to point at it (DNS
        rebinding); none for any, where a certificate says who it is.
        """
        if self.proxy:
            return frozenset({self.proxy.partition(":")[0]})
        return frozenset() if self.certificate else frozenset({self.address, "localhost", "127.0.0.1", "::1"})


def build(room: Room, place: Place) -> ASGIApp:
    """The application of a course."""
    room.url = place.url
    server = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    server.mount("/static", StaticFiles(directory=_STATIC))
    owners: dict[str, str] = {}

    def own(request: Request) -> str:
        """The page's member, and the page her own from now on."""
        member = str(request.scope[MEMBER])
        client = ui.context.client
        owners[client.id] = member
        client.on_delete(lambda: owners.pop(client.id, None))
        ui.add_head_html(
            '<link rel="stylesheet" href="/static/classroom.css"><script src="/static/classroom.js" defer>'
            "</script>"
            f'<meta name="lvslab-copy" content="{html.escape(room.say("copy"))}">'
            f'<meta name="lvslab-copied" content="{html.escape(room.say("copied"))}">'
        )
        return member

    @ui.page("/", title=room.course.title)
    def student_page(request: Request, lab: str = "") -> Response | None:
        member = own(request)
        if member == INSTRUCTOR.id:
            return RedirectResponse("/class")
        desk = room.desk(member)
        names = {desk.bench(name).exercise.name: name for name in room.course.labs}
        StudentPage(room, desk, names.get(lab) or desk.to_open())
        return None

    @ui.page("/class", title=room.course.title)
    def class_page(request: Request) -> Response | None:
        if own(request) != INSTRUCTOR.id:
            return PlainTextResponse("this page is the instructor's\n", 403)
        InstructorPage(room)
        return None

    @server.get("/class/export.zip")
    def export(request: Request) -> Response:
        if request.scope[MEMBER] != INSTRUCTOR.id:
            return PlainTextResponse("this page is the instructor's\n", 403)
        name = f"attachment; filename={room.course.name}.zip"
        return Response(archive(room), media_type="application/zip", headers={"content-disposition": name})

    @server.get("/favicon.ico")
    def icon() -> Response:
        return FileResponse(_STATIC / "icon.svg", media_type="image/svg+xml")

    @server.get("/join/{secret}")
    def ask_to_join(secret: str) -> Response:
        say = room.say
        if not room.access.is_link(secret):
            text = say("This link was used already, or is too old. Ask your instructor for a new one.")
            return _page(room.course.title, f"<p>{html.escape(text)}</p>", 403)
        return _page(
            room.course.title,
            f'<form method="post"><button autofocus>{html.escape(say("Enter"))}</button></form>',
        )

    @server.post("/join/{secret}")
    def join(secret: str) -> Response:
        session = room.access.enter(secret)
        if session is None:
            return RedirectResponse(f"/join/{secret}", 303)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            session,
            max_age=room.course.limits.session_hours * 3600,
            httponly=True,
            samesite="lax",
            secure=place.is_tls,
        )
        return response

    @server.get("/leave")
    def leave(request: Request) -> Response:
        room.access.leave(session_of(dict(request.headers)))
        response = _page(room.course.title, f"<p>{html.escape(room.say('Good-bye.'))}</p>")
        response.delete_cookie(COOKIE)
        return response

    ui.run_with(
        server,
        title=room.course.title,
        language=_language(room.course.language),
        favicon=_STATIC / "icon.svg",
        dark=None,
        tailwind=False,
        reconnect_timeout=_LOST_SECONDS,
        show_welcome_message=False,
    )
    pages.on_startup(lambda: room.background(room.judge()))
    pages.on_startup(lambda: room.background(room.tidy()))
    return Gate(server, room.access, owners.get, place.hosts)


def _language(language: str) -> Language:
    """The framework's own texts, and the pages' `lang`."""
    return "en-US" if language == "en" else cast(Language, language)


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A page that needs no program in the browser."""
    return HTMLResponse(
        '<!doctype html><html><head><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width"><title>{html.escape(title)}</title><link rel="stylesheet"'
        f' href="/static/classroom.css"></head><body class="plain"><main><h1>{html.escape(title)}</h1>'
        f"{body}</main></body></html>",
        status,
    )


def serve(app: ASGIApp, place: Place) -> None:
    """Serve until it is ended.

    Raises:
        UsageError: its port is taken.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        host=place.address,
        port=place.port,
        ssl_certfile=place.certificate,
        ssl_keyfile=place.key,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run()
