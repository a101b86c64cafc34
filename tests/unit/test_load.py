"""Load from several clients: all at once, and what they reached together."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from lvslab.errors import LabError
from lvslab.host.completed import Completed
from lvslab.lab.nodes import LabMachine
from lvslab.traffic.tools import HttpLoad, wrk_from_all

_SUMMARY = """\
  {requests} requests in 1.00s, 1.00MB read
  Socket errors: connect 0, read {failed}, write 0, timeout 0
Requests/sec:  {requests}.00
"""


class Client:
    """Answers as wrk does, once all have been asked."""

    def __init__(self, requests: int, failed: int, together: threading.Barrier) -> None:
        self.requests, self.failed, self._together = requests, failed, together
        self.asked = ""

    def run(self, script: str, **options: Any) -> Completed:
        self.asked = script
        self._together.wait()
        return Completed(0, _SUMMARY.format(requests=self.requests, failed=self.failed), "")


def _load(clients: list[Client], connections: int) -> HttpLoad:
    return wrk_from_all(cast("list[LabMachine]", clients), "http://10.0.0.10/", 1.0, connections, True)


def test_clients_load_at_once_and_share_the_connections() -> None:
    together = threading.Barrier(3, timeout=60)
    clients = [Client(100, 0, together), Client(200, 1, together), Client(300, 0, together)]
    assert _load(clients, 16) == HttpLoad(600, 600.0, 1)
    assert all("--connections 5 " in client.asked for client in clients)


def test_each_client_has_a_connection_and_one_that_waits_for_others_is_noticed() -> None:
    alone = threading.Barrier(2, timeout=0.1)
    with pytest.raises(threading.BrokenBarrierError):
        _load([Client(1, 0, alone)], 16)
    together = threading.Barrier(2, timeout=60)
    clients = [Client(1, 0, together), Client(1, 0, together)]
    _load(clients, 1)
    assert all("--connections 1 " in client.asked for client in clients)


def test_a_client_on_which_it_fails_is_told() -> None:
    class Broken(Client):
        def run(self, script: str, **options: Any) -> Completed:
            return Completed(1, "", "unable to connect")

    with pytest.raises(LabError, match="wrk: unable to connect"):
        _load([Broken(1, 0, threading.Barrier(1))], 16)
