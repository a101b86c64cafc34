"""Tables and prose on narrow terminals: no word is broken, so that what is shown can be copied."""

from __future__ import annotations

import pytest

from lvslab.cli import terminal
from lvslab.cli.train import script_of

HEADERS = ("kernel", "kind", "what it has")
ROWS = [("debian/trixie=6.12um1+b22", "uml", "ip_vs, ipip, expire_quiescent_template")]


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A terminal, whose width each test sets."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    return monkeypatch


@pytest.mark.parametrize("width", [30, 60, 80, 140])
def test_no_word_is_broken(
    width: int, columns: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns.setenv("COLUMNS", str(width))
    terminal.print_table(HEADERS, ROWS, title="Kernels")
    words = capsys.readouterr().out.split()
    assert {"debian/trixie=6.12um1+b22", "expire_quiescent_template", "uml"} <= set(words), words


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
