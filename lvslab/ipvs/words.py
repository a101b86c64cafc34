"""Addresses, numbers and words of an IPVS table, read and checked as ipvsadm(8) takes them."""

from __future__ import annotations

import re
import socket
from enum import StrEnum
from typing import NoReturn, TypeVar

from lvslab.errors import UsageError

_E = TypeVar("_E", bound=StrEnum)


def numeric_address(text: str, what: str) -> str:
    """An address in the form of inet_ntop(3), which ipvsadm prints; ipaddress writes mapped IPv4
    addresses differently.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return socket.inet_ntop(family, socket.inet_pton(family, text))
        except (OSError, ValueError):
            continue
    raise UsageError(f"{what}: '{text}' is not an IP address; give an IPv4 or IPv6 address, not a name")


def split_endpoint(text: str) -> tuple[str, int | None]:
    """Address and port, None where the port is left out; the address is not checked yet."""
    bracketed = re.fullmatch(r"\[([^]]*)\](?::(.*))?", text)
    if bracketed:
        address, port = bracketed[1], bracketed[2]
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, None
    return address, None if port is None else whole_number(port, f"endpoint '{text}': port")


def whole_number(text: str, what: str) -> int:
    """A number in decimal digits.

    Raises:
        UsageError: it is none.
    """
    if not re.fullmatch(r"-?[0-9]+", text):
        raise UsageError(f"{what} '{text}' is not a number; give digits, not a name")
    return int(text)


def check_range(value: int, low: int, high: int, what: str, field: str) -> None:
    """Raise UsageError unless a number lies within both bounds."""
    if not low <= value <= high:
        raise UsageError(f"{what}: {field} {value} is outside {low}..{high}; choose one inside")


def prefix_length(text: str, what: str) -> str:
    """An IPv6 persistence netmask.

    Raises:
        UsageError: it is no length from 1 to 128.
    """
    if not re.fullmatch(r"[0-9]{1,3}", text):
        _bad_mask(text, what, "a prefix length, 1..128")
    check_range(int(text), 1, 128, what, "persistence netmask")
    return str(int(text))


def dotted_mask(text: str, what: str) -> str:
    """An IPv4 persistence netmask.

    Raises:
        UsageError: it is not dotted.
    """
    try:
        return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text))
    except (OSError, ValueError):
        # ipvsadm takes "24" for 0.0.0.24, which groups clients by the last byte: never what was
        # meant.
        _bad_mask(text, what, "a dotted mask such as 255.255.255.0")


def _bad_mask(text: str, what: str, wanted: str) -> NoReturn:
    raise UsageError(
        f"{what}: persistence netmask '{text}' does not fit the service's address family; give {wanted}"
    )


def member(kind: type[_E], text: str, what: str) -> _E:
    """The member of an enumeration that a word names.

    Raises:
        UsageError: none does; the message lists them.
    """
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{what} '{text}' is unknown; choose one of {', '.join(kind)}") from None
