"""Names that files write for ports."""

from __future__ import annotations

from collections.abc import Mapping

PORTS: Mapping[str, int] = {
    "ftp-data": 20,
    "ftp": 21,
    "ssh": 22,
    "telnet": 23,
    "smtp": 25,
    "domain": 53,
    "tftp": 69,
    "http": 80,
    "www": 80,
    "www-http": 80,
    "kerberos": 88,
    "pop3": 110,
    "pop": 110,
    "sunrpc": 111,
    "nntp": 119,
    "ntp": 123,
    "imap": 143,
    "imap2": 143,
    "snmp": 161,
    "snmp-trap": 162,
    "snmptrap": 162,
    "bgp": 179,
    "ldap": 389,
    "https": 443,
    "smtps": 465,
    "submissions": 465,
    "syslog": 514,
    "rtsp": 554,
    "submission": 587,
    "ldaps": 636,
    "domain-s": 853,
    "rsync": 873,
    "ftps-data": 989,
    "ftps": 990,
    "imaps": 993,
    "pop3s": 995,
    "pops": 995,
    "ms-sql-s": 1433,
    "oracle": 1521,
    "radius": 1812,
    "radius-acct": 1813,
    "mqtt": 1883,
    "nfs": 2049,
    "squid": 3128,
    "http_proxy": 3128,
    "mysql": 3306,
    "ms-wbt-server": 3389,
    "sip": 5060,
    "sip-tls": 5061,
    "postgresql": 5432,
    "pgsql": 5432,
    "coap": 5683,
    "amqp": 5672,
    "redis": 6379,
    "http-alt": 8080,
    "webcache": 8080,
}
"""IANA's registry of service names, as far as balanced services use it, with the names of Debian's
/etc/services and of ldirectord's `service=`. A file is read the same on every machine, so the
reader's own /etc/services does not count.
"""


def port_number(word: str) -> int | None:
    """A port as number or name; None: neither."""
    if word.isascii() and word.isdigit():
        number = int(word) if len(word) <= 5 else 65536
        return number if number <= 65535 else None
    return PORTS.get(word.lower())
