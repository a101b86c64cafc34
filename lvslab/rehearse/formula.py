"""What the files themselves promise: after how long a dead server is out of the table, and a dead
director's addresses with the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from lvslab.reading.configured import ServerCheck
from lvslab.reading.vrrp import Vrrp
from lvslab.rehearse.director import Director


class Death(StrEnum):
    """How a server can be gone."""

    KILLED = "killed"
    """Its program has ended: connections are refused at once."""
    SILENT = "silent"
    """Its machine is off: nothing is answered, not even ARP."""
    HUNG = "hung"
    """Its program stands still: connections are taken, and nothing is answered on them."""


_AT_CONNECT = ("tcp", "ping", "bfd")
"""Checks that are content with less than an answer on a connection, so that a hung program goes
unnoticed.
"""

_BLIND_TO_PROGRAMS = ("ping", "bfd")
"""Checks that see a machine and not what runs on it."""

_UNKNOWN = ("script", "file", "none")


def notice(checks: Sequence[ServerCheck], death: Death, *, deaf: bool = False) -> float | None:
    """Seconds after which a server that has died is out of the table at the latest; None where no
    check can notice it, or nobody can say from the file.

    The server dies just after a good check: an interval passes, then each attempt takes its time,
    with the pauses between them (keepalived.conf(5), delay_loop, connect_timeout, retry,
    delay_before_retry; ldirectord(8), checkinterval, failurecount).

    Args:
        deaf: see `attempts`.
    """
    times = [
        check.interval + taken + check.retries * check.retry_interval
        for check in checks
        if (taken := attempts(check, death, deaf=deaf)) is not None
    ]
    return min(times, default=None)


def attempts(check: ServerCheck, death: Death, *, deaf: bool = False) -> float | None:
    """Seconds that all the attempts take after which a check acts: its timeout at most for each,
    none where the connection is refused; None where it cannot notice this death.

    Args:
        deaf: whether a question by UDP does not hear that nobody listens, as those of Perl's
            Net::DNS, which ldirectord uses.
    """
    if check.kind in _UNKNOWN:
        return None
    if death is Death.HUNG and check.kind in _AT_CONNECT:
        return None
    if death is Death.KILLED and check.kind in _BLIND_TO_PROGRAMS:
        return None
    waits = death is not Death.KILLED or (
        deaf and check.kind == "dns" and check.words.get("protocol", "udp") == "udp"
    )
    return (check.retries + 1) * check.timeout if waits else 0.0


def recovery(checks: Sequence[ServerCheck]) -> float | None:
    """Seconds after which a server that is well again is back in the table at the latest. Of
    several pages one is asked for in each interval (keepalived.conf(5), fast_recovery).
    """
    return max(
        (
            check.interval * (1 if "fast_recovery" in check.words else max(1, len(check.pages)))
            + check.timeout
            for check in checks
            if check.interval
        ),
        default=None,
    )


def patience(directors: Sequence[Director]) -> float:
    """Seconds that the directors' slowest check may take to find everything well."""
    times = [
        time
        for director in directors
        for _, configured in director.servers
        if (time := recovery(configured.checks)) is not None
    ]
    return max(times, default=0.0)


def takeover(instance: Vrrp) -> float:
    """Seconds after which a backup takes over when the master is silent: 3 × Advertisement_Interval
    + Skew_Time, with Skew_Time = (256 − priority) / 256 (RFC 3768, 6.1).
    """
    return 3 * instance.interval + (256 - instance.priority) / 256
