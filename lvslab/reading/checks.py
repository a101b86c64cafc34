"""Health checks of keepalived.conf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lvslab.errors import UsageError
from lvslab.ipvs.service import RealServer
from lvslab.ipvs.words import numeric_address
from lvslab.reading.blocks import Block
from lvslab.reading.configured import Page, ServerCheck
from lvslab.reading.ports import port_number
from lvslab.reading.vrrp import seconds, whole

_KINDS: Mapping[str, str] = {
    "HTTP_GET": "http",
    "SSL_GET": "https",
    "TCP_CHECK": "tcp",
    "SMTP_CHECK": "smtp",
    "DNS_CHECK": "dns",
    "UDP_CHECK": "udp",
    "PING_CHECK": "ping",
    "MISC_CHECK": "script",
    "BFD_CHECK": "bfd",
    "FILE_CHECK": "file",
}
_RETRIES = {"DNS_CHECK": 3, "MISC_CHECK": 0}
_RETRY_SECONDS = {"HTTP_GET": 3.0, "SSL_GET": 3.0}
_DELAY_LOOP = 60.0
_CONNECT_TIMEOUT = 5.0
"""Defaults of keepalived.conf(5); the rest retries once, after one second."""
_ASKS_NOBODY = ("script", "bfd", "file")


def read_checks(server: Block, virtual: Block, real: RealServer) -> tuple[ServerCheck, ...]:
    """The checks of a real server; what a check does not say it takes from its server, and that
    from the virtual server.
    """
    return tuple(
        _check(check, asked, (check, server, virtual), real)
        for check in server.all(*_KINDS)
        for asked in check.all("host") or (check,)
    )


def _check(check: Block, asked: Block, around: tuple[Block, Block, Block], real: RealServer) -> ServerCheck:
    """One check. `asked` says where it asks: it does so itself, or by a block for each of several
    hosts, all of which must answer.
    """

    def inherited(keyword: str) -> str:
        return next((block.value(keyword) for block in around if block.all(keyword)), "")

    kind = _KINDS[check.keyword]
    asks = kind not in _ASKS_NOBODY
    interval = seconds(inherited("delay_loop"), _DELAY_LOOP)
    pause = interval if kind == "dns" else _RETRY_SECONDS.get(check.keyword, 1.0)
    retries = _RETRIES.get(check.keyword, 1)
    old_words = next((block.value("nb_get_retry") for block in around if block.all("nb_get_retry")), "")
    path = check.last("misc_path")
    return ServerCheck(
        kind,
        address=(_address(asked.value("connect_ip")) or real.address) if asks else "",
        port=(port_number(asked.value("connect_port")) or real.port) if asks and kind != "ping" else 0,
        source=_address(asked.value("bindto")) if asks else "",
        pages=tuple(_pages(check, inherited("virtualhost"))) if kind in ("http", "https") else (),
        script=" ".join(path.arguments) if path else "",
        interval=interval,
        timeout=_timeout(kind, check.value("misc_timeout") or inherited("connect_timeout"), interval),
        retries=whole(inherited("retry") or old_words, retries),
        retry_interval=seconds(inherited("delay_before_retry"), pause),
        words={child.keyword: " ".join(child.arguments) for child in check.children if not child.children},
    )


def _address(written: str) -> str:
    """An address in numbers; "" where none is written."""
    try:
        return numeric_address(written, "check")
    except UsageError:
        return ""


def _timeout(kind: str, written: str, interval: float) -> float:
    """How long a check may take, in seconds: a script until the next one is due."""
    return seconds(written, interval if kind == "script" else _CONNECT_TIMEOUT)


def _pages(check: Block, host: str) -> Iterator[Page]:
    for url in check.all("url"):
        status = url.last("status_code")
        yield Page(
            path=url.value("path", default="/"),
            host=url.value("virtualhost", default=host),
            status=status.arguments if status else (),
            digest=url.value("digest"),
            contains=url.value("regex"),
        )
