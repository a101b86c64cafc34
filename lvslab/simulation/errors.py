"""How a simulated world ends when it cannot go on: each is a finding, and none of them a wait."""

from __future__ import annotations

from lvslab.errors import GuestError, LabError


class StalledError(LabError):
    """More happened in one nanosecond than any world needs: virtual time stands still."""


class GuestGoneError(GuestError):
    """A guest's process ended while it had the word, without a panic."""


class GuestPanicError(GuestError):
    """A guest's kernel panicked."""


class GuestSpinsError(GuestError):
    """A guest computes without end within one moment of virtual time."""


class GuestHangsError(GuestError):
    """A guest neither computes nor answers."""


class ProtocolError(GuestError):
    """A guest said what a kernel in virtual time does not say."""
