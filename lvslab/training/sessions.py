"""A web application that keeps sessions in its own memory: who comes back to another server is
unknown there.
"""

from __future__ import annotations

from collections.abc import Sequence

from lvslab.host.scripts import guest_file


def server(name: str, port: int, pages: Sequence[str]) -> str:
    """Script that installs and starts the application on a real server.

    Each page is a CGI program of busybox httpd, whose shell runs the other programs by itself; in
    the files NAME stands for the server's name.

    Args:
        name: of the server, three letters.
        pages: those that need a session: /cgi-bin/PAGE?SESSION, where /cgi-bin/login gives the
            number. "home" says that the server knows the user; "chat" is a WebSocket, where the
            server greets with its name and is done.
    """
    texts = {"login": _page("login"), **{page: _page("known") + _page(page) for page in pages}}
    lines = ["mkdir -p /run/sessions /srv/www/cgi-bin"]
    for page, text in texts.items():
        file = f"/srv/www/cgi-bin/{page}"
        lines += [f"cat >{file} <<'END'", f"{text.replace('NAME', name)}END", f"chmod +x {file}"]
    lines.append(f"busybox httpd -p {port} -h /srv/www")
    return "\n".join(lines) + "\n"


def _page(name: str) -> str:
    return guest_file("lvslab.training", f"{name}.cgi")
