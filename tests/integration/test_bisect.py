"""`lvslab bisect` without a kernel: git halves a real history, what a commit shows is made up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from lvslab.bisect import steps
from lvslab.bisect.history import Commit, Mark, Range, range_of
from lvslab.bisect.search import Found, search
from lvslab.bisect.steps import LIVES, Symptoms, judge
from lvslab.errors import CannotError, UsageError
from lvslab.events import nobody

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not there")
COUNT = 17
CHECK = "scheduler:rr:turns"


def git(tree: Path, *words: str) -> str:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, "-C", str(tree), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commits v0 to v16, whose only file holds their number."""
    place = tmp_path_factory.mktemp("history") / "linux"
    place.mkdir()
    git(place, "init", "--quiet", "--initial-branch=main")
    for number in range(COUNT):
        (place / "number").write_text(f"{number}\n")
        git(place, "add", "number")
        git(place, "commit", "--quiet", "-m", f"change {number}")
        git(place, "tag", f"v{number}")
    return place


class Kernels:
    """What a commit of some number shows; counts how many were built."""

    def __init__(self, shows: Callable[[int], Symptoms]) -> None:
        self.shows, self.built = shows, list[int]()
        self.asked: list[frozenset[str] | None] = []

    def __call__(self, place: Path, commit: Commit, wanted: frozenset[str] | None) -> Symptoms:
        number = int((place / "number").read_text())
        assert commit.subject == f"change {number}", "the files are those of the commit"
        self.built.append(number)
        self.asked.append(wanted)
        return self.shows(number)


def broken_since(first: int, unbuilt: Collection[int] = ()) -> Callable[[int], Symptoms]:
    def shows(number: int) -> Symptoms:
        if number in unbuilt:
            return Symptoms(unbuilt="no kernel comes of it")
        return Symptoms(frozenset([CHECK]), reason=f"{CHECK}: one server") if number >= first else Symptoms()

    return shows


def found_in(tree: Path, folder: Path, kernels: Kernels) -> Found:
    folder.mkdir(exist_ok=True)
    return search(range_of(tree, "v0", "v16"), folder, kernels, nobody)


@pytest.mark.parametrize("first", range(1, COUNT))
def test_the_first_bad_commit_is_found_in_five_kernels(tree: Path, tmp_path: Path, first: int) -> None:
    kernels = Kernels(broken_since(first))
    found = found_in(tree, tmp_path / "search", kernels)
    assert [each.subject for each in found.candidates] == [f"change {first}"]
    assert kernels.built[0] == 16 and kernels.asked[0] is None, "the bad end is tried first, with all checks"
    assert set(kernels.asked[1:]) == {frozenset([CHECK])}, "the others by what fails there"
    seen_good = [step.commit.subject for step in found.steps if step.mark is Mark.GOOD]
    assert seen_good, "the answer rests on a commit that was seen to be good"
    assert len(kernels.built) <= (6 if first == 1 else 5)
    assert not (tmp_path / "search/source").exists()


def test_the_checkout_stays_as_it_is(tree: Path, tmp_path: Path) -> None:
    before = (git(tree, "rev-parse", "HEAD"), git(tree, "status", "--porcelain"), git(tree, "branch", "-a"))
    found_in(tree, tmp_path / "search", Kernels(broken_since(7)))
    assert before == (
        git(tree, "rev-parse", "HEAD"),
        git(tree, "status", "--porcelain"),
        git(tree, "branch", "-a"),
    )
    assert not (tree / ".git/BISECT_LOG").exists()


def test_what_does_not_build_is_passed_by_and_said_where_it_could_be_the_first(
    tree: Path, tmp_path: Path
) -> None:
    aside = found_in(tree, tmp_path / "a", Kernels(broken_since(12, unbuilt=(8,))))
    assert [each.subject for each in aside.candidates] == ["change 12"]
    hidden = found_in(tree, tmp_path / "b", Kernels(broken_since(8, unbuilt=(7, 8))))
    assert {each.subject for each in hidden.candidates} == {"change 7", "change 8", "change 9"}


def test_an_interrupted_search_goes_on(tree: Path, tmp_path: Path) -> None:
    def interrupt(number: int) -> Symptoms:
        if number not in (16, 8):
            raise KeyboardInterrupt
        return broken_since(11)(number)

    with pytest.raises(KeyboardInterrupt):
        found_in(tree, tmp_path / "search", Kernels(interrupt))
    assert not (tmp_path / "search/source").exists()
    again = Kernels(broken_since(11))
    found = found_in(tree, tmp_path / "search", again)
    assert [each.subject for each in found.candidates] == ["change 11"]
    assert not {16, 8} & set(again.built) and again.built, "what was learnt is not built again"


def test_ends_that_show_no_fault_are_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotError, match=r"^--bad .*\(change 16\): every check holds there; there is no"):
        found_in(tree, tmp_path / "a", Kernels(lambda number: Symptoms()))
    with pytest.raises(CannotError, match=r"^--bad .*no kernel comes of it; there is no fault"):
        found_in(tree, tmp_path / "b", Kernels(broken_since(3, unbuilt=(16,))))
    with pytest.raises(CannotError, match=r"^--good .*\(change 0\): .*one server; it is not good, give an"):
        found_in(tree, tmp_path / "c", Kernels(broken_since(0)))


def test_another_fault_is_not_this_one() -> None:
    wanted = frozenset([CHECK])
    assert judge(Symptoms(frozenset([CHECK, "ops:add"])), wanted) is Mark.BAD
    assert judge(Symptoms(frozenset(["ops:add"])), wanted) is Mark.GOOD
    assert judge(Symptoms(frozenset([LIVES])), wanted) is Mark.SKIP, "it died before the check could fail"
    assert judge(Symptoms(frozenset([LIVES])), frozenset([LIVES])) is Mark.BAD
    assert judge(Symptoms(), frozenset([LIVES])) is Mark.GOOD
    assert judge(Symptoms(unbuilt="no"), wanted) is Mark.SKIP


def test_what_was_learnt_is_read_as_it_was_written(tmp_path: Path) -> None:
    symptoms = Symptoms(frozenset(["a", "b"]), "", "a: wrong", "runs/1")
    steps.write(tmp_path, [steps.Step(Commit("f" * 40, "say"), symptoms, Mark.BAD)])
    assert steps.read(tmp_path) == {"f" * 40: symptoms} and steps.read(tmp_path / "nowhere") == {}


def test_two_searches_in_one_folder_and_a_damaged_memory_are_refused(tree: Path, tmp_path: Path) -> None:
    kernels = Kernels(broken_since(5))
    with steps.held(tmp_path), pytest.raises(CannotError, match=r"another bisect works there"):
        found_in(tree, tmp_path, kernels)
    (tmp_path / "steps.json").write_text('{"steps": [{}]}')
    with pytest.raises(UsageError, match=r"steps\.json: damaged .*the search begins anew"):
        found_in(tree, tmp_path, kernels)
    assert not kernels.built, "nothing was started"
    (tmp_path / "steps.json").unlink()
    assert [each.subject for each in found_in(tree, tmp_path, kernels).candidates] == ["change 5"]


def test_several_failures_are_told_in_a_line() -> None:
    assert steps.why_of([]) == ""
    assert steps.why_of([("a", "x")]) == "a: x"
    assert steps.why_of([("a", "x"), ("b", "y"), ("c", "z")]) == "a: x (and 2 more checks)"


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("v0", "nosuch", "--bad nosuch: no commit of "),
        ("nosuch", "v0", "--good nosuch: no commit of "),
        ("v3", "v3", "--good v3 and --bad v3 are one commit"),
        ("v5", "v3", "--good v5: no ancestor of --bad v3; give one, such as: git merge-base v5 v3"),
        ("--help", "v3", "--good --help: no commit of "),
    ],
)
def test_ends_that_cannot_be_are_refused(tree: Path, good: str, bad: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        range_of(tree, good, bad)
    assert str(refused.value).startswith(words)


def test_what_is_no_checkout_is_refused(tmp_path: Path, tree: Path) -> None:
    with pytest.raises(UsageError, match="no git checkout; bisect needs a kernel's history"):
        range_of(tmp_path, "a", "b")
    with pytest.raises(UsageError, match=r"no git checkout"):
        range_of(tmp_path / "nosuch", "a", "b")
    assert range_of(tree, "v0", "v16") == Range(
        tree.resolve(),
        Commit(git(tree, "rev-parse", "v0"), "change 0"),
        Commit(git(tree, "rev-parse", "v16"), "change 16"),
        16,
    )
    assert [range_of(tree, f"v{16 - count}", "v16").halvings for count in (1, 2, 3, 4, 5, 16)] == [
        *(0, 1, 2, 2, 3, 4)
    ]
