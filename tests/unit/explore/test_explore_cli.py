"""`lvslab explore` refuses what it cannot do before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.cli.explore import explore
from lvslab.errors import UsageError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--minutes", "0"), "--minutes 0"),
        (("--minutes", "nan"), "--minutes nan"),
        (("--tries", "0"), "--tries 0"),
        (("--seed", "-1"), "--seed -1"),
        (("--kernel", "uml"), "has no virtual time"),
        (("--config", "FILE", "--directors", "2"), "--config takes"),
        (("--schedule", "FILE"), "cannot be read as TOML"),
    ],
)
def test_bad_input_is_refused_at_once(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    file, runs = tmp_path / "a.conf", tmp_path / "runs"
    file.write_text("virtual_server {\n}\n")
    given = [str(file) if word == "FILE" else word for word in words]
    with pytest.raises(UsageError, match=said):
        explore.main([*given, "--runs", str(runs)], standalone_mode=False)
    assert not runs.exists() or not list(runs.iterdir())
