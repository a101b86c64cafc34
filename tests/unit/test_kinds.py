"""Kinds of kernels: what each says of itself, what a trial does with it, and that a kind more is a
class and its entry in `KINDS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lvslab.catalog import add, catalog, choice
from lvslab.errors import CannotError, GuestError, UsageError
from lvslab.host.completed import Completed
from lvslab.host.programs import packages
from lvslab.ipvs import schedulers
from lvslab.ipvs.service import Scheduler
from lvslab.kernels import kinds, probe
from lvslab.kernels.initramfs import ModuleTree
from lvslab.kernels.kinds import CHEAPEST, HOST, KINDS
from lvslab.kernels.machine import Guest, Kernel
from lvslab.kernels.needs import KernelFacts, Kernels, Need, any_kernel
from lvslab.kernels.qemu import QemuKernel
from tests.unit.registries import extend


@dataclass(frozen=True)
class PaperKernel(Kernel):
    """A kernel of a kind that only this test has; what its guest would show is given."""

    file: Path
    modules: ModuleTree
    extra_arguments: tuple[str, ...] = ()

    kind = "paper"
    title = "paper kernel"
    file_names = ("paper", "kernel.paper")
    packages = ()
    tried_unasked = False
    is_stock = False
    memory_mib = 64

    home = Path()
    alone: ClassVar[str | None] = None
    faster = False
    dies_with: ClassVar[tuple[str, ...] | None] = None
    useful = False

    @classmethod
    def installed(cls) -> PaperKernel:
        return cls.at(cls.home)

    @classmethod
    def at(cls, directory: Path, extra_arguments: tuple[str, ...] = ()) -> PaperKernel:
        if not (directory / "paper").is_file():
            raise CannotError(f"{directory}: no paper")
        return cls(directory / "paper", ModuleTree(next((directory / "modules").glob("*"))), extra_arguments)

    @classmethod
    def recognises(cls, file: Path) -> bool:
        return file.read_bytes().startswith(b"paper")

    def cannot_direct(self) -> str | None:
        return self.alone

    def boot_alone(self, console: Path) -> str:
        return f"{self.modules.release} alone"

    def worth_trying(self) -> PaperKernel | None:
        return replace(self, extra_arguments=("fast",)) if self.faster else None

    def proved(self, guest: Guest) -> bool:
        return self.useful

    @property
    def image_file(self) -> Path:
        return self.file

    @property
    def config_sha256(self) -> str | None:
        return None

    @property
    def identity(self) -> str:
        return "paper"

    def boot(
        self, name: str, modules: Sequence[str], directory: Path, console_log: Path, **options: Any
    ) -> Any:
        if self.extra_arguments == self.dies_with:
            raise GuestError("torn")
        return PaperGuest(self.modules.release)


class PaperGuest:
    """Answers every script with success."""

    def __init__(self, release: str) -> None:
        self._release = release

    def wait_ready(self) -> None:
        return

    def run(self, script: str, timeout: float = 0.0) -> Completed:
        return Completed(0, self._release, "")

    def close(self) -> None:
        return


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[PaperKernel]]:
    """The kind, with an entry in `KINDS` and one kernel installed; tests set how it behaves."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / "paper"
    (home / "modules" / "6.1" / "kernel").mkdir(parents=True)
    for name in ("modules.dep", "modules.builtin"):
        (home / "modules" / "6.1" / name).touch()
    (home / "paper").write_bytes(b"paper")
    kind = type("PaperKernel", (PaperKernel,), {"home": home})
    extend(monkeypatch, KINDS, paper=kind)
    yield kind


# -- every kind ------------------------------------------------------------------------------------


def test_the_names_of_kinds_and_of_their_files_are_unmistakable() -> None:
    assert HOST not in KINDS and all(name == kind.kind for name, kind in KINDS.items())
    files = [name for kind in KINDS.values() for name in kind.file_names]
    assert len(files) == len(set(files))
    assert CHEAPEST.tried_unasked, "labs that name no kernel would have none"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_a_kind_needs_stands_among_the_packages(kind: type[Kernel]) -> None:
    assert set(kind.packages) <= {package.name for package in packages()}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_finds_nothing_in_an_empty_directory_and_knows_no_other_file(
    kind: type[Kernel], tmp_path: Path
) -> None:
    with pytest.raises(CannotError, match=str(tmp_path)):
        kind.at(tmp_path)
    (tmp_path / "text").write_text("hello")
    assert not kind.recognises(tmp_path / "text")


def test_of_a_directory_the_kind_that_lies_there_is_taken(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match=r"needs linux\.uml or vmlinuz"):
        kinds.kernel_at(tmp_path)
    (tmp_path / "vmlinuz").touch()
    with pytest.raises(CannotError, match="needs the image vmlinuz and one tree"):
        kinds.kernel_at(tmp_path)
    (tmp_path / "modules" / "6.1").mkdir(parents=True)
    (tmp_path / "modules" / "6.1" / "modules.dep").touch()
    assert isinstance(kinds.kernel_at(tmp_path), QemuKernel)


# -- a kind more -----------------------------------------------------------------------------------


def test_a_kind_more_is_found_and_tried_by_its_name(paper: type[PaperKernel]) -> None:
    choice.check_kernel("paper")
    assert catalog.find("paper") == paper.installed()
    tried = probe.kernels_here([Need.IP_VS], "paper")
    assert tried.facts["paper"].met == frozenset(Need) and tried.facts["paper"].release == "6.1"
    assert tried.choose(frozenset({Need.IP_VS}), "paper", "node") == ("paper", "chosen by name")
    assert "paper" in any_kernel().facts


def test_a_kind_more_is_recognised_and_added(
    paper: type[PaperKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    addition = add.prepare(paper.home)
    assert (addition.kind, addition.program.name) == (paper, "paper")
    with pytest.raises(UsageError, match=r"or a paper kernel \(paper, kernel\.paper\)"):
        kinds.recognise(paper.home / "modules" / "6.1" / "modules.dep")
    facts = KernelFacts("paper", "6.1", None, frozenset(Need), {}, None)
    assert probe.facts_from_json(json.loads(json.dumps(probe.facts_to_json(facts)))) == facts


def test_a_kind_that_nobody_asked_for_is_not_tried(
    paper: type[PaperKernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def installed(cls: type[PaperKernel]) -> object:
        tried.append(cls.kind)
        return _none()

    for kind in KINDS.values():
        monkeypatch.setattr(kind, "installed", classmethod(installed))
    assert probe.kernels_here([Need.IP_VS]).absent.keys() <= {kind.kind for kind in KINDS.values()}
    assert "paper" not in tried and set(tried) <= {"uml"}
    with pytest.raises(CannotError) as caught:
        Kernels({}).choose(frozenset({Need.IP_VS}), None, "node")
    assert "uml: not tried" in str(caught.value) and "paper" not in str(caught.value)


def _none() -> Kernel:
    raise CannotError("not installed")


# -- trials ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "arguments"),
    [
        ({}, ()),
        ({"faster": True, "useful": True}, ("fast",)),
        ({"faster": True, "useful": False}, ()),
        ({"faster": True, "useful": True, "dies_with": ("fast",)}, ()),
    ],
    ids=["nothing to try", "of use", "of no use", "does not boot with it"],
)
def test_what_is_worth_trying_stays_only_where_it_proved_useful(
    paper: type[PaperKernel], tmp_path: Path, behaviour: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    for name, value in behaviour.items():
        setattr(paper, name, value)
    trial = probe.try_kernel(paper.installed(), tmp_path / "console")
    assert trial.kernel.extra_arguments == arguments and Need.IP_VS in trial.facts.met


def test_a_kernel_that_boots_neither_way_is_refused(paper: type[PaperKernel], tmp_path: Path) -> None:
    paper.dies_with = ()
    with pytest.raises(GuestError, match="torn"):
        probe.try_kernel(paper.installed(), tmp_path / "console")


def test_a_kernel_that_can_be_no_node_boots_alone(paper: type[PaperKernel], tmp_path: Path) -> None:
    paper.alone = "it is only paper"
    trial = probe.try_kernel(paper.installed(), tmp_path / "console")
    assert trial.facts.release == "6.1 alone" and not trial.facts.met
    assert dict(trial.facts.unmet) == dict.fromkeys(Need, "it is only paper")


def test_facts_survive_being_kept() -> None:
    facts = KernelFacts("uml", "6.12.1", "ab", frozenset({Need.IP_VS}), {Need.SYNPROXY: "no table"}, None)
    assert probe.facts_from_json(json.loads(json.dumps(probe.facts_to_json(facts)))) == facts
    with pytest.raises(ValueError, match="another version"):
        probe.facts_from_json({**probe.facts_to_json(facts), "version": -1})


def test_the_trial_of_schedulers_believes_what_worked_only() -> None:
    assert schedulers.schedulers_had("=has rr\nnoise\n=has twos\n=has nothing\n") == (
        Scheduler.RR,
        Scheduler.TWOS,
    )
    ran: list[str] = []

    def run(script: str) -> Completed:
        ran.append(script)
        return Completed(0, "=has mh\n", "")

    assert schedulers.try_schedulers(run) == (Scheduler.MH,)
    assert all(f" {each}" in ran[0] for each in Scheduler)
