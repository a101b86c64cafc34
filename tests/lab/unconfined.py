"""Guests without their confinement: what an attacker gets then, so that the attacks can fail."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from lvslab.host import linux
from lvslab.kernels import confinement, syscalls


def _filter(refusals: tuple[syscalls.Refusal, ...]) -> Callable[[], None]:
    """Takes what a kernel cannot do on this machine from the process that calls it (seccomp(2))."""

    class Program(ctypes.Structure):
        """linux/filter.h: struct sock_fprog."""

        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))

    with os.fdopen(syscalls.open_filter(refusals), "rb") as file:
        instructions = file.read()
    program = Program(len(instructions) // 8, instructions)
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def apply() -> None:
        set_seccomp, mode_filter = 22, 2
        if prctl(set_seccomp, mode_filter, ctypes.byref(program), 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")

    return apply


def unconfined(stack: ExitStack) -> None:
    """Start guests as bare processes, for as long as the stack is open."""

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
            preexec_fn=_filter(bounds.refusals) if bounds.refusals else None,
        )
        stack.callback(process.kill)
        return confinement.Confined(process, process.pid, os.pidfd_open(process.pid))

    patch = stack.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(confinement, "start", start)
    patch.setattr(confinement, "new_network", linux.new_network)
