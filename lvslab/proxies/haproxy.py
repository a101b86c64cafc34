"""HAProxy, which reads every request (`haproxy`) or only passes bytes on (`haproxy-tcp`).

Words and defaults are those of HAProxy's configuration manual, version 2.6.
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

CONFIGURATION = "haproxy.cfg"

CONNECTIONS = 4000
"""Connections that it takes at once (maxconn); each needs two descriptors."""


class HaProxy(Proxy):
    """HAProxy in HTTP mode."""

    name: ClassVar[str] = "haproxy"
    title: ClassVar[str] = "HAProxy"
    summary: ClassVar[str] = (
        "one thread and epoll; reads every request and may send each to another real server"
    )
    schedulers = {
        Scheduler.RR: "roundrobin",
        Scheduler.WRR: "roundrobin",
        Scheduler.LC: "leastconn",
        Scheduler.WLC: "leastconn",
        Scheduler.SH: "source",
    }
    most_weight = 256
    mode: ClassVar[str] = "http"

    def require(self) -> None:
        if not shutil.which("haproxy", path="/usr/sbin:/usr/bin"):
            raise CannotError(f"{self.name}: HAProxy is not installed; {advice('haproxy')}")

    def command(self, directory: PurePath) -> str:
        return f"ulimit -n {4 * CONNECTIONS}; exec /usr/sbin/haproxy -db -f {directory}/{CONFIGURATION}"

    def _files(self, service: VirtualService, directory: PurePath) -> Mapping[str, ControlFile]:
        plain = service.scheduler in (Scheduler.RR, Scheduler.LC)
        servers = "\n".join(
            _server(each, 1 if plain and each.weight else each.weight) for each in service.real_servers
        )
        return {
            CONFIGURATION: ControlFile(f"""\
global
    maxconn {CONNECTIONS}
    # the director has one processor
    nbthread 1
defaults
    mode {self.mode}
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    # a server that does not accept is tried once more, then another one is
    retries 2
    option redispatch 1
frontend {service.address}:{service.port}
    bind {service.address}:{service.port} backlog {BACKLOG}
    default_backend servers
backend servers
    balance {self.schedulers[service.scheduler]}
{self._stickiness()}{servers}
""")
        }

    def _stickiness(self) -> str:
        """Further lines of the backend."""
        return ""


class StickyHaProxy(HaProxy):
    """HAProxy that sends a client to the server that it had before, by a table of its own
    (stick-table).
    """

    name = "haproxy-sticky"
    title = "HAProxy with stickiness"

    def _stickiness(self) -> str:
        return "    stick-table type ip size 10k expire 30m\n    stick on src\n"


class HaProxyTcp(HaProxy):
    """HAProxy in TCP mode: it chooses a server for each connection and copies bytes."""

    name = "haproxy-tcp"
    title = "HAProxy TCP"
    summary = "HAProxy that chooses a real server for each connection and copies bytes without reading them"
    mode = "tcp"


def _server(server: RealServer, weight: int) -> str:
    where = f"{server.address}:{server.port}"
    return f"    server {where} {where} weight {weight}"
