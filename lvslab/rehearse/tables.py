"""A director's table beside what its files ask for, and beside another table: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lvslab.ipvs.service import RealServer, VirtualService

Table = tuple[VirtualService, ...]


def differences(wanted: Iterable[VirtualService], there: Iterable[VirtualService]) -> Iterator[str]:
    """What stands otherwise than it should, a sentence each, in the order of what is wanted."""
    expected = {service.name: service for service in wanted}
    found = {service.name: service for service in there}
    for name, service in expected.items():
        other = found.get(name)
        if other is None:
            yield f"{name} is missing"
            continue
        if options(service) != options(other):
            yield f"{name} is {options(other)}, wanted is {options(service)}"
        yield from _servers(name, service, other)
    for name in found:
        if name not in expected:
            yield f"{name} is there, and nobody asked for it"


def _servers(name: str, wanted: VirtualService, there: VirtualService) -> Iterator[str]:
    expected = {server.name: server for server in wanted.real_servers}
    found = {server.name: server for server in there.real_servers}
    for key, server in expected.items():
        other = found.get(key)
        if other is None:
            yield f"{name}: real server {key} is missing"
        elif other != server:
            yield f"{name}: real server {key} is {_said(other)}, wanted is {_said(server)}"
    for key, server in found.items():
        if key not in expected:
            yield f"{name}: real server {key} is there ({_said(server)}), and nobody asked for it"


def changed(before: Iterable[VirtualService], after: Iterable[VirtualService]) -> Iterator[str]:
    """What a table has otherwise than an earlier one of the same services, a sentence each."""
    earlier = {service.name: service for service in before}
    for service in after:
        old = earlier[service.name]
        if options(old) != options(service):
            yield f"{service.name}: {options(old)} becomes {options(service)}"
        servers = {server.name: server for server in old.real_servers}
        for server in service.real_servers:
            was = servers.pop(server.name, None)
            if was is None:
                yield f"{service.name}: real server {server.name} added ({_said(server)})"
            elif was != server:
                yield f"{service.name}: real server {server.name}: {_said(was)} becomes {_said(server)}"
        yield from (f"{service.name}: real server {name} removed" for name in servers)


def options(service: VirtualService) -> str:
    """A service's own settings as ipvsadm(8) writes them."""
    return " ".join(service.options)


def _said(server: RealServer) -> str:
    return " ".join(server.options)


def weights(table: Iterable[VirtualService]) -> dict[tuple[str, str], int]:
    """(service, server) → weight."""
    return {
        (service.name, server.name): server.weight for service in table for server in service.real_servers
    }
