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


def test_a_picture_is_shown_whole_or_not_at_all(terminal_of: Callable[[int], None]) -> None:
    picture = ["rs1 ───────── 10.0.0.10:80 ─────────▶ lvs", "short"]
    terminal_of(80)
    assert terminal.fitting(picture) == picture
    terminal_of(30)
    (said,) = terminal.fitting(picture)
    assert f"{len(picture[0])} columns wide, this terminal 30" in said


def test_a_table_that_fits_stays_a_table() -> None:
    assert terminal.needed_width(HEADERS, ROWS) == 25 + 1 + 4 + 1 + 25
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
