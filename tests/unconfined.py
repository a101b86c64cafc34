"""Guests as bare processes, as they were before they were confined: what an attack must succeed
against, and what the confinement costs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from lvslab.host import linux
from lvslab.kernels import confinement


@contextmanager
def unconfined() -> Iterator[None]:
    """Guests that are started in this block are bare processes; they end with it."""

    def start(
        command: Sequence[str], bounds: Any, *, network: int, descriptors: Sequence[int], log: Any
    ) -> confinement.Confined:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=descriptors,
            start_new_session=True,
        )
        stack.callback(process.kill)
        return confinement.Confined(process, process.pid, os.pidfd_open(process.pid))

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(confinement, "start", start)
        patch.setattr(confinement, "new_network", linux.new_network)
        yield
