"""Tables and prose on narrow terminals: no word is broken, so that what is shown can be copied."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from lvslab.cli import terminal
from lvslab.cli.train import script_of

HEADERS = ("kernel", "kind", "what it has")
ROWS = [("debian/trixie=6.12um1+b22", "uml", "ip_vs, ipip, expire_quiescent_template")]


@pytest.fixture
def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the terminal so many columns wide."""

    def of(width: int) -> None:
        monkeypatch.setattr(
            terminal, "result_console", lambda: Console(width=width, height=25, highlight=False)
        )

    return of


@pytest.mark.parametrize("width", [30, 60, 80, 140])
def test_no_word_is_broken(
    width: int, terminal_of: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal_of(width)
    terminal.print_table(HEADERS, ROWS, title="Kernels")
    words = capsys.readouterr().out.split()
    assert {"debian/trixie=6.12um1+b22", "expire_quiescent_template", "uml"} <= set(words), words


METRICS = ("Metric", "NAT", "DR", "TUN", "FullNAT", "SYNPROXY")
MEASURED = [
    (title, *[f"{value} (spread 100.0 %, n 3)"] * 5)
    for title, value in (("Retransmitted segments", "11 segments"), ("Throughput", "0.652 Gbit/s"))
]


@pytest.mark.parametrize("width", [60, 70, 80, 120, 200])
def test_a_table_of_measurements_breaks_no_word_and_loses_none(
    width: int, terminal_of: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal_of(width)
    terminal.print_table(METRICS, MEASURED)
    lines = capsys.readouterr().out.splitlines()
    words = " ".join(lines).split()
    assert {"Retransmitted", "segments", "Throughput", "Gbit/s"} <= set(words)
    assert words.count("100.0") == words.count("(spread") == 10
    assert all(len(line.rstrip()) <= width for line in lines)


@pytest.mark.parametrize(
    ("room", "widths"), [(9, [4, 5]), (12, [7, 5]), (15, [9, 6]), (16, [9, 7]), (1000, [9, 7])]
)
def test_whoever_lacks_most_gets_the_room(room: int, widths: list[int]) -> None:
    assert terminal.shared_out(room, [4, 5], [9, 7]) == widths


def test_a_picture_is_shown_whole_or_not_at_all(terminal_of: Callable[[int], None]) -> None:
    picture = ["rs1 ───────── 10.0.0.10:80 ─────────▶ lvs", "short"]
    terminal_of(80)
    assert terminal.fitting(picture) == picture
    terminal_of(30)
    (said,) = terminal.fitting(picture)
    assert f"{len(picture[0])} columns wide, this terminal 30" in said


def test_a_table_that_fits_stays_a_table() -> None:
    assert terminal.records(HEADERS, ROWS, 40) == [
        "debian/trixie=6.12um1+b22",
        "  kind: uml",
        "  what it has: ip_vs, ipip,",
        "    expire_quiescent_template",
    ]


@pytest.mark.parametrize(
    ("command", "script"),
    [(("a; b",), "a; b"), (("ls", "my file"), "ls 'my file'"), (("ipvsadm",), "ipvsadm")],
)
def test_one_word_is_a_script_for_the_nodes_shell(command: tuple[str, ...], script: str) -> None:
    assert script_of(command) == script
