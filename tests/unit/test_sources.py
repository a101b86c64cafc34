"""Sources of kernels: what each says of itself, and that one more is a module and its entry in
`SOURCES`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lvslab.catalog import catalog, choice, sources, store
from lvslab.catalog.fetch import fetch
from lvslab.catalog.names import LOCAL, KernelName, LocalName
from lvslab.catalog.source import Delivery, KernelSource, LaidOut, Offer
from lvslab.catalog.sources import SOURCES
from lvslab.cli.kernels import kernels
from lvslab.errors import CannotError, UsageError
from lvslab.events import Listener
from lvslab.kernels import probe
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.needs import KernelFacts, Need
from tests.unit.registries import extend


@dataclass(frozen=True)
class FolderName(KernelName):
    label: str
    version: str | None = None

    @property
    def name(self) -> str:
        return f"folder/{self.label}"


class FolderDelivery(Delivery):
    def __init__(self, kernel: Path) -> None:
        self._kernel, self.version = kernel, kernel.name

    def lay_out(self, entry: Path) -> LaidOut:
        shutil.copytree(self._kernel, entry, dirs_exist_ok=True)
        return LaidOut(f"copied from {self._kernel}")


class Folder(KernelSource[FolderName]):
    """Kernels `LABEL/VERSION/` in a folder, such as a team shares: a whole source."""

    name = "folder"
    how = "folder/LABEL[=VERSION]"
    about = "What the team has built."

    def __init__(self, root: Path) -> None:
        self._root = root

    def parse(self, text: str) -> FolderName:
        label, _, version = text.removeprefix("folder/").partition("=")
        if not label.isalnum():
            raise UsageError(f"kernel '{text}': unknown; write {self.how}")
        return FolderName(label, version or None)

    def newest(self, versions: Iterable[str]) -> str:
        return max(versions)

    def offers(self, suites: Sequence[str], work: Path, tell: Listener) -> list[Offer]:
        labels = [] if suites else sorted(self._root.iterdir())
        return [Offer(FolderName(label.name), self._versions(label.name)) for label in labels]

    def needed_mib(self, wanted: FolderName) -> int:
        return 0

    def find(self, wanted: FolderName, work: Path, cache: Path, tell: Listener) -> FolderDelivery:
        versions = self._versions(wanted.label)
        if not versions or wanted.version not in (None, *versions):
            raise CannotError(f"{wanted}: not in {self._root}; there is: {', '.join(versions) or 'none'}")
        return FolderDelivery(self._root / wanted.label / (wanted.version or self.newest(versions)))

    def _versions(self, label: str) -> tuple[str, ...]:
        return tuple(sorted((path.name for path in (self._root / label).glob("*")), reverse=True))


def put(root: Path, label: str, version: str, release: str = "6.1") -> Path:
    """A kernel in the folder."""
    tree = root / label / version / "modules" / release
    tree.mkdir(parents=True)
    (tree / "modules.dep").touch()
    (root / label / version / "linux.uml").write_text(f"{label} {version}")
    return root / label / version


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The source, with an entry in `SOURCES` and one kernel in it; trial boots are not made."""
    facts = KernelFacts("uml", "6.1", "ab", frozenset({Need.IP_VS}), {}, None)
    found = {"extra_arguments": [], "boot_seconds": 0.5, "facts": probe.facts_to_json(facts)}
    monkeypatch.setattr(store, "run_trial", lambda *_: found)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    extend(monkeypatch, SOURCES, folder=Folder(tmp_path / "folder"))
    put(tmp_path / "folder", "team", "1.0")
    yield tmp_path / "folder"


# -- every source ----------------------------------------------------------------------------------


def test_the_names_of_sources_are_unmistakable() -> None:
    assert LOCAL not in SOURCES and all(name == source.name for name, source in SOURCES.items())
    assert all(source.how.startswith(f"{name}/") and source.about for name, source in SOURCES.items())


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_source_reads_its_own_names_only_and_they_stay_in_its_place(source: KernelSource[Any]) -> None:
    for bad in (f"{source.name}/", f"{source.name}/../x", f"{source.name}/a/../../b", f"{source.name}/ "):
        with pytest.raises(UsageError, match=source.name):
            source.parse(bad)
    assert source.newest(["1.0"]) == "1.0"


def test_a_name_of_no_source_is_wrong_usage_and_all_are_named(folder: Path) -> None:
    for text in ("ubuntu/noble", "folder", "", "debian"):
        with pytest.raises(UsageError, match=r"write debian/SUITE.*, folder/LABEL.*, or local/NAME$"):
            sources.parse_name(text)
    with pytest.raises(UsageError, match=r"write debian/SUITE.*, folder/LABEL\[=VERSION\]$"):
        sources.source_of("local/mine")
    assert not sources.is_name("folder") and not sources.is_name("here/team")


def test_local_names() -> None:
    mine = LocalName("6.1.192+mine")
    assert sources.parse_name("local/6.1.192+mine") == mine == LocalName.parse("6.1.192+mine")
    assert str(LocalName("a")) == "local/a"
    for bad in ("local/", "local/../x", "local/.x", "local/a b", "local/a/b"):
        with pytest.raises(UsageError, match="kernel name"):
            sources.parse_name(bad)
    with pytest.raises(UsageError, match="kernel name"):
        LocalName.parse("")


# -- a source more ---------------------------------------------------------------------------------


def test_a_source_more_is_fetched_from_and_its_kernels_are_found(folder: Path) -> None:
    first = fetch("folder/team")
    assert (first.name, first.version, first.kind) == ("folder/team", "1.0", "uml")
    assert first.directory == cache_directory() / "folder" / "team" / "1.0"
    assert first.origin == f"copied from {folder}/team/1.0"
    put(folder, "team", "2.0")
    second = fetch("folder/team")
    assert catalog.entries() == [first, second] and fetch("folder/team=1.0") == first
    assert catalog.find_entry("folder/team") == second
    choice.check_kernel("folder/team=1.0")
    assert catalog.find("folder/team=1.0") == first.kernel()
    assert sources.is_name("folder/team")


def test_what_a_source_more_lacks_is_told_with_the_command(folder: Path) -> None:
    with pytest.raises(CannotError, match=r"'folder/team': not here; run: .* fetch folder/team$"):
        catalog.find("folder/team")
    with pytest.raises(CannotError, match=r"folder/team=3: not in .*; there is: 1\.0"):
        fetch("folder/team=3")
    entry = fetch("folder/team")
    with pytest.raises(CannotError, match=r"'folder/other': not here \(here: folder/team=1\.0\); run"):
        catalog.find("folder/other")
    (entry.directory / "linux.uml").unlink()
    with pytest.raises(CannotError, match=r"damaged: .*; run: lvslab kernels fetch folder/team=1\.0$"):
        catalog.find("folder/team")
    assert fetch("folder/team").kernel()


def test_what_a_source_more_offers_is_listed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(SOURCES["debian"]), "offers", lambda *_: [])
    fetch("folder/team")
    put(folder, "team", "2.0")
    shown = CliRunner().invoke(kernels, ["list", "--available", "--json"], standalone_mode=False)
    assert json.loads(shown.stdout)["available"] == [
        {"name": "folder/team", "versions": ["2.0", "1.0"], "here": ["1.0"], "problem": ""}
    ]


def test_a_source_more_is_explained(folder: Path) -> None:
    shown = CliRunner().invoke(kernels, ["fetch", "--help"]).stdout
    assert "debian/SUITE" in shown
    assert "folder/LABEL[=VERSION]\n    What the team has built." in shown
