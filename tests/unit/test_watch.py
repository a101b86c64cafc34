"""The watcher of the table: its lines are read as the kernel writes them, and every difference is
told, none twice.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.errors import LabError
from lvslab.lab.watch import changes, parse_table, watch_command

WEB = "TCP 10.0.0.10:80"


@pytest.mark.parametrize(
    ("line", "table"),
    [
        ("", {}),
        ("\n", {}),
        ("|TCP 0A00000A:0050 rr\n", {WEB: {}}),
        (
            "|TCP 0A00000A:0050 wrr;0A00010B:1F90 Masq 3;0A00010C:1F90 Masq 0\n",
            {WEB: {"10.0.1.11:8080": 3, "10.0.1.12:8080": 0}},
        ),
        (
            (
                "|UDP 0A00000A:14B4 rr ops;0A00000B:14B4 Route 1|TCP 0A00000A:1451 sh (flag-1,flag-2)"
                " persistent 300 FFFFFFFF"
            ),
            {"UDP 10.0.0.10:5300": {"10.0.0.11:5300": 1}, "TCP 10.0.0.10:5201": {}},
        ),
        ("|FWM 0000000A rr;0A00010B:0050 Tunnel 65535", {"FWM 10": {"10.0.1.11:80": 65535}}),
        (
            (
                "|TCP [fd00:0000:0000:0000:0000:0000:0000:000a]:0050 rr persistent 300 128"
                ";[fd00:0000:0000:0000:0000:0000:0000:0001]:1F90 Masq 1"
            ),
            {"TCP [fd00::a]:80": {"[fd00::1]:8080": 1}},
        ),
    ],
    ids=["empty", "empty line", "no server", "weights", "two services with flags", "mark", "IPv6"],
)
def test_the_kernels_lines_are_read(line: str, table: Mapping[str, Mapping[str, int]]) -> None:
    assert parse_table(line) == table


@pytest.mark.parametrize(
    "line",
    [
        "|TCP",
        "|TCP 0A00000A rr",
        "|TCP 0A00000A:xyz rr",
        "|TCP 0A00000A:0050 rr;0A00010B:1F90 Masq",
        "|TCP 0A00000A:0050 rr;0A00010B:1F90 Masq heavy",
        "|FWM mark rr",
        "|TCP [fd00::g]:0050 rr",
        "bash: /proc/net/ip_vs: No such file or directory",
    ],
)
def test_a_line_that_is_no_table_is_told(line: str) -> None:
    with pytest.raises(LabError) as caught:
        parse_table(line)
    assert str(caught.value) == f"the table of virtual services cannot be read from: {line}"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {WEB: {}}, (f"{WEB} added",)),
        ({WEB: {"a:1": 1}}, {}, (f"{WEB} removed",)),
        (
            {},
            {WEB: {"a:1": 1, "b:1": 3}},
            (f"{WEB} added", f"{WEB}: a:1 added", f"{WEB}: b:1 added with weight 3"),
        ),
        ({WEB: {"a:1": 1, "b:1": 1}}, {WEB: {"b:1": 1}}, (f"{WEB}: a:1 removed",)),
        ({WEB: {"a:1": 1}}, {WEB: {"a:1": 0}}, (f"{WEB}: a:1 weight 1 -> 0",)),
        (
            {WEB: {"a:1": 1}},
            {WEB: {"b:1": 0}},
            (f"{WEB}: a:1 removed", f"{WEB}: b:1 added with weight 0"),
        ),
    ],
)
def test_a_change_is_said_in_words(
    before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]], said: tuple[str, ...]
) -> None:
    assert changes(before, after) == said


SERVERS = st.sampled_from(["10.0.1.11:80", "10.0.1.12:80", "10.0.1.11:8080"])
TABLES = st.dictionaries(
    st.sampled_from([WEB, "UDP 10.0.0.10:80", "FWM 1"]),
    st.dictionaries(SERVERS, st.integers(0, 65535), max_size=3),
    max_size=3,
)


@given(table=TABLES)
def test_between_equal_tables_nothing_is_said(table: dict[str, dict[str, int]]) -> None:
    assert changes(table, {service: dict(servers) for service, servers in table.items()}) == ()


@given(before=TABLES, after=TABLES)
def test_every_difference_is_named_once_and_nothing_else(
    before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]
) -> None:
    due = {service for service in {*before, *after} if (service in before) != (service in after)}
    due |= {
        f"{service}: {server}"
        for service in after
        for server in {*before.get(service, {}), *after[service]}
        if before.get(service, {}).get(server) != after[service].get(server)
    }
    said = changes(before, after)
    named = [each.partition(" added")[0].partition(" removed")[0].partition(" weight")[0] for each in said]
    assert sorted(named) == sorted(due)


def _line(table: Mapping[str, Mapping[str, int]]) -> str:
    """The watcher's line for a table, as the kernel prints its addresses."""

    def hexadecimal(endpoint: str) -> str:
        address, _, port = endpoint.partition(":")
        return "".join(f"{int(part):02X}" for part in address.split(".")) + f":{int(port):04X}"

    text = ""
    for service, servers in table.items():
        protocol, name = service.split()
        text += f"|{protocol} {f'{int(name):08X}' if protocol == 'FWM' else hexadecimal(name)} wlc"
        text += "".join(f";{hexadecimal(server)} Masq {weight}" for server, weight in servers.items())
    return text


@given(table=TABLES)
def test_any_table_is_read_back(table: dict[str, dict[str, int]]) -> None:
    assert parse_table(_line(table)) == table


FILE = "/proc/net/ip_vs"
SHOWN = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A00000A:0050 rr persistent 300 FFFFFFFF
  -> 0A00010B:1F90      Masq    3      7          0
FWM  0000000A wrr
  -> [fd00:0000:0000:0000:0000:0000:0000:0001]:1F90      Route   1      0          0
"""
"""As ip_vs_info_seq_show prints it."""


def test_the_program_prints_a_line_at_once_and_at_each_change_but_not_for_counters(tmp_path: Path) -> None:
    shown = tmp_path / "ip_vs"
    shown.write_text(SHOWN)
    command = [word.replace(FILE, str(shown)) for word in watch_command()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        first = process.stdout.readline()
        for text in (SHOWN.replace("7          0", "9          1"), SHOWN.replace("Masq    3", "Masq    0")):
            with shown.open("r+") as file:  # over the old text, which is as long: it is never empty
                file.write(text)
        second = process.stdout.readline()
        process.stdin.close()
        assert (process.stdout.read(), process.wait(60)) == ("", 0)
    before, after = parse_table(first), parse_table(second)
    assert before == {"TCP 10.0.0.10:80": {"10.0.1.11:8080": 3}, "FWM 10": {"[fd00::1]:8080": 1}}
    assert changes(before, after) == ("TCP 10.0.0.10:80: 10.0.1.11:8080 weight 3 -> 0",)


def test_the_program_ends_where_there_is_no_ipvs() -> None:
    command = [word.replace(FILE, "/nonexistent") for word in watch_command()]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "/nonexistent" in done.stderr
