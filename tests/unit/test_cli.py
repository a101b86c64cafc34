"""Wrong input is found before anything starts: exit code 2, one line that names the object and the
next step.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lvslab.cli import _group
from tests.unit.commands import lvslab


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "natt"], ["mode 'natt'", "nat, dr, tun"]),
        (["verify", "nat", "--servers", "0"], ["servers: 0", "at least one"]),
        (["verify", "nat", "--clients", "51"], ["clients: 51", "1 to 50"]),
        (["verify", "nat", "--scheduler", "fair"], ["scheduler 'fair'", "wrr"]),
        (["verify", "nat", "--topology", "mesh"], ["topology 'mesh'", "shipped:"]),
        (["verify", "nat", "--without", "arp"], ["no set-up step 'arp'", "ip-forward"]),
        (
            ["verify", "synproxy", "--topology", "dr"],
            ["mode 'synproxy'", "real servers answer the clients directly", "--topology synproxy"],
        ),
        (["verify", "dr", "--topology", "nat"], ["mode 'dr'", "--topology dr"]),
        (["verify", "--kernel", "bsd"], ["bsd", "debian/SUITE"]),
        (["run", "no-such"], ["scenario 'no-such'", "compare-modes"]),
        (["run", "compare-modes", "--set", "repeat"], ["--set repeat", "NAME=VALUE"]),
        (["run", "compare-modes", "--set", "repeat=often"], ["repeat", "one whole number", "often"]),
        (["run", "compare-modes", "--set", "speed=1"], ["no parameter 'speed'", "repeat=3"]),
        (["report", "/nonexistent"], ["/nonexistent"]),
        (["shell", "mesh"], ["'mesh'"]),
    ],
    ids=lambda value: (
        " ".join(value)
        if isinstance(value, list) and value[0] in ("verify", "run", "report", "shell")
        else ""
    ),
)
def test_wrong_input_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = lvslab(*arguments, place=tmp_path)
    assert done.code == 2, done.out + done.err
    assert done.out == "" and done.err.startswith("lvslab: ") and done.err.count("\n") == 1
    assert all(word in done.err for word in words), done.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def run(:\n", ["line 1"]),
        ("x = 1\nnosuch\n", ["line 2", "nosuch"]),
        ("x = 1\n", ["0 scenarios"]),
        (
            (
                "from lvslab.scenario import scenario\n@scenario(title='t', teaches='t', modes=['nat'])\ndef"
                " run(log, n): ...\n"
            ),
            ["'n' has no default"],
        ),
    ],
)
def test_a_broken_scenario_file_is_named_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    own = tmp_path / "own.py"
    own.write_text(text)
    done = lvslab("run", str(own), place=tmp_path)
    assert done.code == 2
    assert str(own) in done.err and all(word in done.err for word in words), done.err


def test_list_is_valid_json_with_all_modes(tmp_path: Path) -> None:
    data = json.loads(lvslab("list", "--json", place=tmp_path).out)
    assert [each["name"] for each in data["modes"]] == ["nat", "dr", "tun", "fullnat", "synproxy"]
    assert {each["name"] for each in data["topologies"]} >= {"nat", "dr", "tun", "fullnat", "synproxy"}


@pytest.mark.parametrize("line", ["run slow-link --help", "list slow-link"])
def test_a_scenario_tells_what_can_be_set(line: str, tmp_path: Path) -> None:
    done = lvslab(*line.split(), place=tmp_path)
    assert done.code == 0, done.err
    shown = {words[0]: " ".join(words[1:]) for row in done.out.splitlines() if (words := row.split())}
    assert shown["--mode"] == "nat nat, fullnat"
    assert shown["--delay"] == "0.01,0.05,0.1 numbers separated by commas, 0 to 5"
    assert shown["--repeat"] == "1 one whole number, 1 to 1000"


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    """Each command's full name and its help at 80 columns."""
    yield context.command_path, command.get_help(context)
    for name, part in command.commands.items() if isinstance(command, click.Group) else ():
        yield from _commands(part, click.Context(part, info_name=name, parent=context))


def test_every_help_suffices_at_80_columns() -> None:
    for name, text in _commands(_group, click.Context(_group, info_name="lvslab", terminal_width=80)):
        assert not [line for line in text.splitlines() if len(line) > 80], name
        summaries = text.partition("\nCommands:\n")[2]
        assert "..." not in summaries, f"{name}: a command needs a short_help that fits"
        assert " TEXT " not in text, f"{name}: an option does not say what it takes"


def test_help_names_every_command(tmp_path: Path) -> None:
    text = lvslab("--help", place=tmp_path).out
    assert all(
        f"\n  {command} " in text
        for command in ("check", "compare", "kernels", "list", "report", "run", "shell", "train", "verify")
    )
    assert len(text.splitlines()) < 40
