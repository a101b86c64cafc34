"""A capture that cannot begin: what is said, and that nothing stays open."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from lvslab.errors import CannotError
from lvslab.verify.capture import Capture


class Tap:
    """A packet socket that hears nothing."""

    closed = False

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_without_permission_nothing_is_captured_and_no_socket_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taps: list[Tap] = []

    def opened(*_: object) -> Tap:
        if taps:  # the first is given, the second refused
            raise PermissionError(1, "Operation not permitted")
        taps.append(Tap())
        return taps[0]

    monkeypatch.setattr(socket, "socket", opened)
    with pytest.raises(CannotError, match="capture on s1-eth2: no permission"):
        with Capture(tmp_path / "none.pcapng", {"s1-eth1": "c1-eth0", "s1-eth2": "lvs-eth0"}):
            pass
    assert [tap.closed for tap in taps] == [True]
    assert not (tmp_path / "none.pcapng").exists()
