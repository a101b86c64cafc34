"""Every other scenario that virtual time does not refuse says there what it says in real time
(tests/lab/test_both_worlds.py): minutes each, and on a busy machine more.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.plan.files import shipped_files
from lvslab.scenario import description
from tests.lab import test_both_worlds as both

FILES = shipped_files("scenarios")
HELD = sorted(name for name in set(FILES) - set(both.HELD) if not description.load(name, FILES).real_time)


@pytest.mark.parametrize("name", HELD)
def test_both_worlds_agree(name: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    both.hold(name, tmp_path, tmp_path_factory)
