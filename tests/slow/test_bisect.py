"""`lvslab bisect` on real kernels: one seeded fault among sixteen commits, minutes with ccache."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.slow.trees import NEXT_ONE, ROUND_ROBIN, lvslab, needs_tree, take_tree

pytestmark = needs_tree

COMMITS = 16
FAULTY = 11
CHECKS = "scheduler:rr:*"


def _git(tree: Path, *words: str) -> None:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(tree), *words], check=True, stdout=subprocess.DEVNULL)


def _commit(tree: Path, number: int, faulty: bool) -> None:
    """A commit that changes the scheduler's file: by a remark, and one by a fault."""
    file = tree / ROUND_ROBIN
    text = file.read_text()
    if faulty:
        assert text.count(NEXT_ONE) == 1, "this tree's round robin is written otherwise"
        text = text.replace(NEXT_ONE, "")
    file.write_text(f"{text}/* change {number} */\n")
    _git(tree, "commit", "--quiet", "--all", "-m", f"change {number}")
    _git(tree, "tag", f"v{number}")


def test_one_faulty_commit_of_sixteen_is_named_after_five_kernels(own_cache: Path, tmp_path: Path) -> None:
    tree = take_tree(tmp_path / "linux")
    _git(tree, "init", "--quiet")
    _git(tree, "add", "--all", "--force")
    _git(tree, "commit", "--quiet", "-m", "as it was")
    _git(tree, "tag", "v0")
    for number in range(1, COMMITS + 1):
        _commit(tree, number, faulty=number == FAULTY)
    command = ["bisect", str(tree), "--good", "v0", "--bad", f"v{COMMITS}", "--check", CHECKS]
    done = lvslab(*command, "--runs", str(tmp_path / "runs"), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [each["subject"] for each in found["candidates"]] == [f"change {FAULTY}"], done.stderr
    assert len(found["steps"]) <= 5 and all(name.startswith("scheduler:rr:") for name in found["failing"])
    assert {step["mark"] for step in found["steps"]} == {"good", "bad"}
    assert not list(own_cache.glob("local/*")), "its kernels are gone"
    again = lvslab(*command, "--runs", str(tmp_path / "runs"), "--json")
    assert again.returncode == 0 and again.stderr.count("(judged before)") == len(found["steps"]), (
        again.stderr
    )

    whole = ["bisect", str(tree), "--good", "v1", "--bad", "v3", "--check", CHECKS]
    sound = lvslab(*whole, "--runs", str(tmp_path / "runs"))
    assert sound.returncode == 4 and "every check holds there" in sound.stderr, sound.stderr
