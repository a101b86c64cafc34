"""What one TCP does and another does not, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

from lvslab.errors import UsageError
from lvslab.simulation.endpoints.base import MILLISECOND, SECOND


@dataclass(frozen=True, slots=True)
class TcpSettings:
    """The settings of a host's TCP; times are nanoseconds, the defaults Linux's (ip-sysctl.rst,
    include/net/tcp.h).

    Attributes:
        timestamps, sack: whether it offers them (RFC 7323, RFC 2018).
        scale: its window's shift count; None: it does not offer to scale (RFC 7323).
        buffer: octets that it takes before the application reads them.
        first_timeout: the retransmission timeout before anything was measured.
        granularity: G of RFC 6298, the least share of variation in a timeout. Linux has it this
            large, and no least timeout.
        least_timeout, longest_timeout: bounds of it; RFC 6298 wants 1 s as the least.
        syn_retries, synack_retries, retries, orphan_retries: how often a SYN, its answer, and
            anything else is sent again before the connection is given up; the last one of a
            connection that its application has closed.
        time_wait: for how long a closed connection's ports stay taken.
        fin_timeout: for how long one that was closed here waits for the other side's end.

    Raises:
        UsageError: a scale or buffer that TCP does not have.
    """

    timestamps: bool = True
    sack: bool = True
    scale: int | None = 7
    buffer: int = 131072
    first_timeout: int = SECOND
    granularity: int = 200 * MILLISECOND
    least_timeout: int = 0
    longest_timeout: int = 120 * SECOND
    syn_retries: int = 6
    synack_retries: int = 5
    retries: int = 15
    orphan_retries: int = 8
    time_wait: int = 60 * SECOND
    fin_timeout: int = 60 * SECOND

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 <= self.scale <= 14:
            raise UsageError(f"TCP: window scale {self.scale}: it lies between 0 and 14 (RFC 7323, 2.3)")
        most = 0xFFFF << (self.scale or 0)
        if not 1 <= self.buffer <= most:
            raise UsageError(f"TCP: buffer of {self.buffer} octets: a window here has 1 to {most}")
