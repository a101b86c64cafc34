"""A name server in a node (dnsmasq), and requests of clients that resolve the name anew each time
(dig, then curl).
"""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType

from lvslab.control.base import ControlFile
from lvslab.host.distribution import require_scripts
from lvslab.lab.daemon import Daemon
from lvslab.lab.nodes import LabMachine
from lvslab.traffic import http

_CONFIGURATION = "dnsmasq.conf"
_COMMAND = "exec dnsmasq --no-daemon --conf-file={directory}/" + _CONFIGURATION
"""In the foreground, saying everything on standard error, as the user that started it (dnsmasq(8),
--no-daemon).
"""

_READY_SECONDS = 10.0
_ASK = "dig +short +tries=2 +time=2 @{server} {name} A"


@dataclass(frozen=True)
class Visit:
    """One request of a client, which resolved the name first and took the first address, as most
    programs do.

    Attributes:
        t: when it began, seconds since the epoch.
        client: the node's name.
        address: that the name server gave first, "" if it gave none.
        server: name of the real server that answered, None if the request failed.
        seconds: that the request took, without the question to the name server.
        error: why it failed, None if it did not.
    """

    t: float
    client: str
    address: str
    server: str | None
    seconds: float
    error: str | None


def require(who: str) -> None:
    """Refuse to start where dnsmasq or dig is missing.

    Raises:
        CannotError: names each and the command that installs them.
    """
    require_scripts(who, (_COMMAND, _ASK))


class NameServer:
    """dnsmasq in a node, which knows the addresses of one name; a context manager.

    With each question it gives the addresses in another order (dnsmasq(8), --no-round-robin). The
    answers' time to live is 0 (--local-ttl), so nobody keeps them.
    """

    def __init__(self, node: LabMachine, name: str, addresses: Sequence[str], logs: Path) -> None:
        """`logs`: existing folder for its configuration and its messages, each question
        among them.
        """
        self.node, self.name, self._addresses, self._logs = node, name, tuple(addresses), logs
        self._running = ExitStack()

    def __enter__(self) -> NameServer:
        self.publish(self._addresses)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def publish(self, addresses: Sequence[str]) -> None:
        """Change the name's record: dnsmasq is started anew and answers with these addresses when
        this returns.

        Raises:
            LabError: it does not start; with what it said last.
        """
        self._running.close()
        files = {_CONFIGURATION: ControlFile(configuration(self.name, addresses))}
        command = _COMMAND.format(directory=self.node.inside / "dnsmasq")
        daemon = self._running.enter_context(Daemon(self.node, "dnsmasq", command, files, self._logs))
        daemon.await_line("started, version", _READY_SECONDS)


def configuration(name: str, addresses: Sequence[str]) -> str:
    """dnsmasq.conf of a server that knows this name only."""
    records = "".join(f"host-record={name},{each}\n" for each in addresses)
    return f"no-resolv\nno-hosts\nlog-queries\nlocal=/{name}/\n{records}"


def visit(clients: Sequence[LabMachine], server: str, name: str, times: int, timeout: float) -> list[Visit]:
    """Each client makes `times` requests, one after the other; the clients work side by side.

    Args:
        server: address of the name server.
        timeout: seconds for each request.
    """

    def one(client: LabMachine) -> Visit:
        began = time.time()
        said = client.run(_ASK.format(server=server, name=name)).out.splitlines()
        if not said or said[0].startswith(";"):
            return Visit(
                began, client.name, "", None, 0.0, f"not resolved: {said[0] if said else 'no such record'}"
            )
        (answer,) = http.get(client, f"http://{said[0]}/", timeout=timeout)
        return Visit(began, client.name, said[0], answer.server, answer.total, answer.error)

    with ThreadPoolExecutor(max_workers=len(clients), thread_name_prefix="visit") as pool:
        every = pool.map(lambda client: [one(client) for _ in range(times)], clients)
        return sorted((each for some in every for each in some), key=lambda each: each.t)


def write_visits(file: Path, visits: Sequence[Visit]) -> None:
    """Keep them as CSV, a column for each of their attributes."""
    with file.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(each.name for each in fields(Visit))
        out.writerows(astuple(each) for each in visits)
