"""A web application that keeps sessions in its own memory: who comes back to another server is
unknown there.
"""

from __future__ import annotations

from collections.abc import Mapping

# Each page is a CGI program of busybox httpd; NAME stands for the server's name, and busybox' shell
# runs the other programs by itself.
_LOGIN = r"""
sid=$(head -c 6 /dev/urandom | xxd -p)
>/run/sessions/$sid
printf 'Content-Type: text/plain\r\nX-Server: NAME\r\n\r\n%s\n' $sid
"""

_KNOWN = r"""
case $QUERY_STRING in *[!0-9a-f]*|'') QUERY_STRING=none;; esac
if ! [ -f "/run/sessions/$QUERY_STRING" ]; then
    printf 'Status: 403 Forbidden\r\nContent-Type: text/plain\r\nX-Server: NAME\r\n\r\nNAME: unknown session\n'
    exit
fi
"""  # noqa: E501

HOME = r"""
printf 'Content-Type: text/plain\r\nX-Server: NAME\r\n\r\nNAME knows you\n'
"""
"""A page of whoever has logged in."""

# The handshake of RFC 6455, section 4.2.2, and one text frame (section 5.2; the length is that of
# NAME: three letters).
CHAT = r"""
accept=$(printf '%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11' "$HTTP_SEC_WEBSOCKET_KEY" | sha1sum | xxd -r -p | base64)
printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
printf 'X-Server: NAME\r\nSec-WebSocket-Accept: %s\r\n\r\n' "$accept"
printf '\201\003NAME'
"""  # noqa: E501
"""A WebSocket of whoever has logged in; the server greets with its name and is done."""


def server(name: str, port: int, pages: Mapping[str, str]) -> str:
    """Script that installs and starts the application on a real server.

    Args:
        name: of the server, three letters.
        pages: name → body of the pages that need a session: /cgi-bin/NAME?SESSION, where
            /cgi-bin/login gives the number.
    """
    texts = {"login": _LOGIN, **{page: _KNOWN + body.lstrip() for page, body in pages.items()}}
    lines = ["mkdir -p /run/sessions /srv/www/cgi-bin"]
    for page, text in texts.items():
        file = f"/srv/www/cgi-bin/{page}"
        lines += [
            f"cat >{file} <<'END'",
            "#!/usr/bin/busybox sh" + text.replace("NAME", name).rstrip(),
            "END",
            f"chmod +x {file}",
        ]
    lines.append(f"busybox httpd -p {port} -h /srv/www")
    return "\n".join(lines) + "\n"
