"""A proxy takes the place of IPVS in a running lab's director."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lvslab.errors import LabError, UsageError
from lvslab.ipvs.service import VirtualService
from lvslab.lab.daemon import Daemon
from lvslab.lab.lab import Lab
from lvslab.lab.nodes import LabMachine
from lvslab.modes.base import ReplyPath, Step, Sysctl, set_up_script
from lvslab.plan.services import HTTP_PORT
from lvslab.proxies.base import Proxy, listens
from lvslab.proxies.haproxy import HaProxy, HaProxyTcp
from lvslab.proxies.nginx import Nginx, NginxStream
from lvslab.proxies.pound import Pound

PROXIES: Mapping[str, Proxy] = {
    each.name: each for each in (HaProxy(), HaProxyTcp(), Nginx(), NginxStream(), Pound())
}
"""All of them by name."""

_READY_SECONDS = 20.0
_LOOK_SECONDS = 0.05

_NO_ROUTER = Step("no-router", "nothing reaches a server past the proxy", (Sysctl("net.ipv4.ip_forward", 0),))

TUNING = Step(
    "tuning",
    "ports for many connections to the real servers, and room for those that wait",
    (
        Sysctl("net.ipv4.ip_local_port_range", "1024 65535"),
        Sysctl("net.ipv4.tcp_tw_reuse", 1),
        Sysctl("net.core.somaxconn", 4096),
    ),
)
"""What every proxy's manual advises where there are many connections."""


def proxy_named(name: str) -> Proxy:
    """A proxy by name.

    Raises:
        UsageError: there is none of that name.
    """
    found = PROXIES.get(name)
    if found is None:
        raise UsageError(f"proxy '{name}': there is no such proxy; choose from: {', '.join(PROXIES)}")
    return found


def http_service(lab: Lab) -> VirtualService:
    """The lab's virtual service for HTTP."""
    return next(each for each in lab.plan.services if each.port == HTTP_PORT)


@contextmanager
def serving(lab: Lab, proxy: Proxy, logs: Path, director: str | None = None) -> Iterator[Daemon]:
    """Let a proxy distribute the lab's HTTP service instead of IPVS, until the block is left.

    The director's IPVS table is emptied and it forwards no packets any more, so whatever arrives at
    a real server came from the proxy. The proxy's configuration and messages go to `logs`.

    Args:
        director: where, by default the only director.

    Raises:
        UsageError: the proxy cannot do it, or the lab's real servers do not answer through the
            director.
        CannotError: its program is not here.
        LabError: it does not start; with what it said last.
    """
    where = director or lab.plan.director.name
    if lab.plan.topo.reply_path != ReplyPath.DIRECTOR:
        raise UsageError(
            f"proxy '{proxy.name}': real servers of topology '{lab.plan.topology}' hold the virtual address"
            " or have no way to the director; use the one of mode nat"
        )
    node, service = lab.node(where), http_service(lab)
    lab.table(where).clear()
    node.run(set_up_script([_NO_ROUTER, TUNING], None)).check(where, "set-up of the proxy")
    lab.tell("proxy", f"{proxy.title} takes the place of IPVS", where)
    with running(node, proxy, service, logs) as daemon:
        yield daemon


@contextmanager
def running(node: LabMachine, proxy: Proxy, service: VirtualService, logs: Path) -> Iterator[Daemon]:
    """Let a proxy serve a virtual service on a node until the block is left; it listens when the
    block is entered.

    Raises:
        UsageError: the proxy cannot do it.
        CannotError: its program is not here.
        LabError: something listens there already, or it does not start, or has ended when the block
            is left; with what it said last.
    """
    proxy.require()
    files = proxy.files(service, node.inside / proxy.name)
    if _listening(node, service):
        raise LabError(
            f"{node.name}: something listens on {service.address}:{service.port} already, so {proxy.name}"
            " cannot; stop it first"
        )
    proxy.bring(node.make_folder(proxy.name))
    with Daemon(node, proxy.name, proxy.command(node.inside / proxy.name), files, logs) as daemon:
        await_listening(daemon, service)
        yield daemon
        daemon.check()


def _listening(node: LabMachine, service: VirtualService) -> bool:
    return listens(node.run("cat /proc/net/tcp").out, str(service.address), service.port)


def await_listening(daemon: Daemon, service: VirtualService, timeout: float = _READY_SECONDS) -> None:
    """Wait until a socket listens for the service in the daemon's node.

    Raises:
        LabError: the program ended before, or there is none in time; with what it said last.
    """
    deadline = time.monotonic() + timeout
    while not _listening(daemon.node, service):
        daemon.check()
        if time.monotonic() > deadline:
            said = [text for _, text in daemon.lines if text]
            raise LabError(
                f"{daemon.node.name}: {daemon.name} does not listen on {service.address}:{service.port} after"
                f" {timeout:g} s; it said last: {said[-1] if said else 'nothing'}"
            )
        time.sleep(_LOOK_SECONDS)
