"""nginx as a reverse proxy that reads every request (`nginx`) or only passes bytes on
(`nginx-stream`).

Directives as nginx.org/en/docs documents ngx_http_upstream_module, ngx_http_proxy_module and
ngx_stream_upstream_module.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import PurePath
from typing import ClassVar

from lvslab.control.base import ControlFile
from lvslab.errors import CannotError
from lvslab.host.distribution import advice
from lvslab.ipvs.service import RealServer, Scheduler, VirtualService
from lvslab.proxies.base import BACKLOG, Proxy

CONFIGURATION = "nginx.conf"

_IDLE_CONNECTIONS = 64
"""Connections to real servers that are kept for the next request (`keepalive`): more than a
measurement keeps busy.
"""

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(Proxy):
    """nginx reading HTTP."""

    name: ClassVar[str] = "nginx"
    title: ClassVar[str] = "nginx"
    summary: ClassVar[str] = (
        "one process and epoll; reads every request, and keeps connections to the real servers for the"
        " next one"
    )
    schedulers = {
        Scheduler.RR: "",
        Scheduler.WRR: "",
        Scheduler.LC: "least_conn",
        Scheduler.WLC: "least_conn",
        Scheduler.SH: "ip_hash",
    }
    most_weight = 65535

    def require(self) -> None:
        if not shutil.which("nginx", path="/usr/sbin:/usr/bin"):
            raise CannotError(f"{self.name}: nginx is not installed; {advice('nginx-light')}")

    def command(self, directory: PurePath) -> str:
        return f"exec /usr/sbin/nginx -e stderr -p {directory} -c {directory}/{CONFIGURATION}"

    def _files(self, service: VirtualService, directory: PurePath) -> Mapping[str, ControlFile]:
        temporary = [f"{kind}_temp_path {directory}/{kind};" for kind in _TEMPORARY]
        lines = [
            "access_log off;",
            "keepalive_requests 100000000;",
            *temporary,
            *_upstream(service, self.schedulers[service.scheduler], [f"keepalive {_IDLE_CONNECTIONS};"]),
            "server {",
            f"    listen {service.address}:{service.port} backlog={BACKLOG};",
            "    location / {",
            "        proxy_pass http://servers;",
            "        proxy_connect_timeout 1s;",
            '        # both for connections that are kept: HTTP/1.0 and "Connection: close" are the defaults',
            "        proxy_http_version 1.1;",
            '        proxy_set_header Connection "";',
            "        # large answers are not put aside in files",
            "        proxy_max_temp_file_size 0;",
            "    }",
            "}",
        ]
        return {CONFIGURATION: ControlFile(_configuration("http", lines, directory))}


class NginxStream(Nginx):
    """nginx passing bytes on."""

    name = "nginx-stream"
    title = "nginx stream"
    summary = "nginx that chooses a real server for each connection and copies bytes without reading them"
    schedulers = {**Nginx.schedulers, Scheduler.SH: "hash $remote_addr"}

    def _files(self, service: VirtualService, directory: PurePath) -> Mapping[str, ControlFile]:
        lines = [
            *_upstream(service, self.schedulers[service.scheduler], []),
            "server {",
            f"    listen {service.address}:{service.port} backlog={BACKLOG};",
            "    proxy_connect_timeout 1s;",
            "    proxy_pass servers;",
            "}",
        ]
        return {
            CONFIGURATION: ControlFile(
                _configuration(
                    "stream", lines, directory, "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n"
                )
            )
        }


def _configuration(context: str, lines: list[str], directory: PurePath, first: str = "") -> str:
    """nginx.conf of one process in the foreground that stays root: in a user namespace there is no
    other user.
    """
    body = "".join(f"    {line}\n" for line in lines)
    return f"""\
{first}user root root;
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 16384;
error_log stderr warn;
pid {directory}/nginx.pid;
events {{
    worker_connections 8192;
}}
{context} {{
{body}}}
"""


def _upstream(service: VirtualService, balancing: str, more: list[str]) -> list[str]:
    plain = service.scheduler in (Scheduler.RR, Scheduler.LC)
    servers = [
        f"    server {each.address}:{each.port} {_weight(each, plain)};" for each in service.real_servers
    ]
    return [
        "upstream servers {",
        *([f"    {balancing};"] if balancing else []),
        *servers,
        *(f"    {line}" for line in more),
        "}",
    ]


def _weight(server: RealServer, plain: bool) -> str:
    """nginx has no weight 0: a server without one is `down`."""
    return "down" if not server.weight else f"weight={1 if plain else server.weight}"
