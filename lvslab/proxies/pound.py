"""Pound, a reverse proxy with a thread for every connection; its words are those of pound(8),
version 4.16.

Debian 12 has no Pound. `pound_package` gets it from a newer suite.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path, PurePath

from lvslab.control.base import ControlFile
from lvslab.errors import CannotError
from lvslab.ipvs.service import Scheduler, VirtualService
from lvslab.kernels import guestfiles
from lvslab.proxies import pound_package
from lvslab.proxies.base import Proxy

CONFIGURATION = "pound.cfg"
_PROGRAM = "program"


class Pound(Proxy):
    """Pound in the foreground."""

    name = "pound"
    title = "Pound"
    summary = "a thread for every connection; reads every request"
    schedulers = {Scheduler.RR: "iwrr", Scheduler.WRR: "iwrr"}
    most_weight = 65535  # since 4.15

    def require(self) -> None:
        if pound_package.installed() is None:
            raise CannotError(
                "pound: Pound is not here, and this Debian has no package of it; get it from a newer one: "
                "python -m lvslab.proxies.pound_program, or leave it out"
            )

    def bring(self, folder: Path) -> None:
        """The cache is hidden from guests, as all of the user's own files are."""
        self.require()
        found = pound_package.installed()
        assert found is not None
        if not (folder / _PROGRAM).exists():
            shutil.copytree(found.directory, folder / _PROGRAM, copy_function=guestfiles.copy)

    def command(self, directory: PurePath) -> str:
        program = pound_package.start(directory / _PROGRAM)
        return f"exec {' '.join(program)} -F -e -f {directory}/{CONFIGURATION} -p {directory}/pound.pid"

    def _files(self, service: VirtualService, directory: PurePath) -> Mapping[str, ControlFile]:
        plain = service.scheduler == Scheduler.RR
        backends = [
            line
            for server in service.real_servers
            for line in (
                "    Backend",
                f"        Address {server.address}",
                f"        Port {server.port}",
                f"        Priority {1 if plain else max(1, server.weight)}",
                *(["        Disabled yes"] if not server.weight else []),
                "    End",
            )
        ]
        lines = [
            "# nothing is logged for a request, as with the others",
            "LogLevel 0",
            "# one process, no second one that would start it again",
            "Daemon off",
            "Supervisor off",
            f"Balancer {self.schedulers[service.scheduler]}",
            "ConnTO 1",
            "ListenHTTP",
            f"    Address {service.address}",
            f"    Port {service.port}",
            "    Service",
            *(f"    {line}" for line in backends),
            "    End",
            "End",
        ]
        return {CONFIGURATION: ControlFile("\n".join(lines) + "\n")}
