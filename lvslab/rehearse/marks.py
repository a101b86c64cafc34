"""Which packets get which firewall mark, as the rules of iptables-save(8) say: pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from lvslab.errors import UsageError
from lvslab.ipvs.service import Protocol
from lvslab.ipvs.words import numeric_address
from lvslab.reading.netfilter import read_iptables
from lvslab.rehearse.director import Door

_PROTOCOLS = {"tcp": Protocol.TCP, "udp": Protocol.UDP, "sctp": Protocol.SCTP}


def marks_of(rules: str) -> dict[int, list[Door]]:
    """Mark → one door for each rule that sets it: the lowest port where it is for several.

    A rule without an address or a port says too little to send a packet that fits it, and is passed
    over.
    """
    marks: dict[int, list[Door]] = {}
    for line in read_iptables(rules).lines:
        table, _, rule = line.partition(" ")
        if table == "mangle" and rule.startswith("-A PREROUTING "):
            for mark, door in _marked(rule):
                if door not in marks.setdefault(mark, []):
                    marks[mark].append(door)
    return marks


def as_iptables(lines: Sequence[str]) -> str:
    """Rules with their tables in front as input for iptables-restore(8)."""
    text = ""
    for line in lines:
        table, _, rule = line.partition(" ")
        if rule.startswith("-A "):
            text += f"*{table}\n{rule}\nCOMMIT\n"
    return text


def _marked(line: str) -> Iterator[tuple[int, Door]]:
    try:
        words = shlex.split(line)
    except ValueError:
        return
    options = {
        word: following
        for before, word, following in zip(["", *words], words, words[1:], strict=False)
        if word.startswith("-") and before != "!"
    }
    mark = options.get("--set-xmark") or options.get("--set-mark", "")
    protocol = _PROTOCOLS.get(options.get("-p", ""))
    ports = options.get("--dport") or options.get("--dports", "")
    address = options.get("-d", "").partition("/")[0]
    first = ports.partition(",")[0].partition(":")[0]
    if options.get("-j") != "MARK" or protocol is None or not first.isdecimal():
        return
    try:
        yield int(mark.partition("/")[0], 0), Door(protocol, numeric_address(address, "mark"), int(first))
    except (ValueError, UsageError):
        return
