"""The kernel catalog without network: entries appear whole or not at all, and are found by name."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import catalog, fetch, store
from lvslab.catalog.debian import apt, mirror
from lvslab.catalog.debian import source as debian_source
from lvslab.catalog.debian.apt_output import UntrustedError
from lvslab.catalog.debian.names import Flavour, Spec
from lvslab.errors import CannotError, GuestError
from lvslab.events import Event
from lvslab.kernels import probe
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.needs import KernelFacts, Need
from lvslab.kernels.uml import UmlKernel
from tests.unit.catalogs import nothing_left

needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not there")

FACTS = KernelFacts("uml", "6.12.1", "ab", frozenset({Need.IP_VS}), {Need.SYNPROXY: "no table"}, None)


class Archive:
    """A mirror, a trial boot and their troubles, without network and kernel."""

    def __init__(self) -> None:
        self.offered = {"user-mode-linux": ["6.12um1+b22"]}
        self.release = "6.12.1"
        self.trial: Callable[[], dict[str, Any]] = lambda: {
            "extra_arguments": ["seccomp=on"],
            "boot_seconds": 0.5,
            "facts": probe.facts_to_json(FACTS),
        }
        self.unpacking: Callable[[], None] = lambda: None
        self.trials = self.updates = 0

    def source(self, home: Path, mirror: str, suites: object, keyring: Path, tell: object) -> Archive:
        home.mkdir()
        self.home = home
        return self

    def update(self) -> None:
        self.updates += 1

    def versions(self, package: str, suite: str) -> list[str]:
        return self.offered.get(package, [])

    def download(self, package: str, version: str) -> Path:
        path = self.home / f"{package}_{version}.deb"
        path.touch()
        return path

    def unpack(self, package: Path, where: Path) -> None:
        tree = where / "usr/lib/uml/modules" / self.release
        tree.mkdir(parents=True)
        (tree / "modules.dep").touch()
        (where / "usr/bin").mkdir()
        self.unpacking()
        program = where / "usr/bin/linux.uml"
        program.write_text("#!/bin/sh\necho 6.12.1\n")
        program.chmod(0o755)

    def run_trial(self, directory: Path, console: Path, result: Path) -> dict[str, Any]:
        self.trials += 1
        console.write_text("Kernel panic\n")
        return self.trial()


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Archive]:
    fake = Archive()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(apt, "machine_mirrors", lambda: ["http://m/debian"])
    monkeypatch.setattr(apt, "machine_keyring", lambda: Path("/keys.gpg"))
    monkeypatch.setattr(apt, "unpack", fake.unpack)
    monkeypatch.setattr(mirror, "PrivateApt", fake.source)
    monkeypatch.setattr(store, "run_trial", fake.run_trial)
    monkeypatch.setattr(debian_source, "NEEDED_MIB", dict.fromkeys(Flavour, 0))
    yield fake


def test_a_fetched_kernel_is_found(archive: Archive) -> None:
    told: list[Event] = []
    entry = fetch.fetch("debian/trixie:uml", tell=told.append)
    assert (entry.name, entry.version, entry.release) == ("debian/trixie", "6.12um1+b22", "6.12.1")
    assert catalog.entries() == [entry]
    kernel = catalog.find("debian/trixie")
    assert kernel == catalog.find("debian/trixie:uml=6.12um1+b22") == entry.kernel()
    assert kernel.extra_arguments == ("seccomp=on",)
    assert probe.guest_facts(kernel) == FACTS, "the trial's result is not kept: it would be booted again"
    assert any(event.kind == "boot" for event in told)
    assert not list(cache_directory().glob("work-*"))


def test_what_is_there_is_not_fetched_again(archive: Archive) -> None:
    first = fetch.fetch("debian/trixie")
    assert fetch.fetch("debian/trixie") == first
    assert (archive.trials, archive.updates) == (1, 2)
    assert fetch.fetch("debian/trixie=6.12um1+b22") == first
    assert archive.updates == 2, "an exact version that is there needs no network"


@needs_dpkg
def test_of_several_versions_the_newest_is_meant(archive: Archive) -> None:
    fetch.fetch("debian/trixie")
    archive.offered["user-mode-linux"] = ["6.12um1+b9"]
    fetch.fetch("debian/trixie")
    assert [entry.version for entry in catalog.entries()] == ["6.12um1+b22", "6.12um1+b9"]
    assert catalog.find_entry("debian/trixie").version == "6.12um1+b22"
    assert catalog.find_entry("debian/trixie=6.12um1+b9").version == "6.12um1+b9"


def _raise(error: BaseException) -> Callable[[], Any]:
    def work() -> Any:
        raise error

    return work


@pytest.mark.parametrize("when", ["unpacking", "trial"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), CannotError("broken"), OSError(28, "No space left on device")]
)
def test_whatever_goes_wrong_nothing_appears(archive: Archive, when: str, error: BaseException) -> None:
    setattr(archive, when, _raise(error))
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else CannotError):
        fetch.fetch("debian/trixie")
    assert catalog.entries() == []
    assert nothing_left("refused.console")


def test_a_killed_fetch_leaves_nothing_visible_and_is_swept(archive: Archive) -> None:
    archive.trial = lambda: os._exit(9)
    child = os.fork()
    if child == 0:
        try:
            fetch.fetch("debian/trixie")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    cache = cache_directory()
    assert list(cache.glob("work-*")), "the test does not show anything: nothing was left"
    assert catalog.entries() == []
    archive.trial = Archive().trial
    fetch.fetch("debian/trixie")
    assert not list(cache.glob("work-*"))
    assert len(catalog.entries()) == 1


def test_a_kernel_that_does_not_boot_is_refused_and_its_console_kept(archive: Archive) -> None:
    archive.trial = lambda: {"error": "trial: guest kernel died; it said: Kernel panic"}
    with pytest.raises(
        GuestError, match=r"(?s)debian/trixie=6\.12um1\+b22': refused, .*Kernel panic.*\n    Kernel panic$"
    ):
        fetch.fetch("debian/trixie")
    assert nothing_left("refused.console")
    assert (cache_directory() / "refused.console").read_text() == "Kernel panic\n"


def test_a_kernel_that_is_another_release_than_its_modules_is_refused(archive: Archive) -> None:
    archive.release = "6.12.2"
    with pytest.raises(GuestError, match=r"says that it is 6\.12\.1, but its modules are for 6\.12\.2"):
        fetch.fetch("debian/trixie")
    assert catalog.entries() == []


def test_a_package_or_version_that_the_suite_lacks_is_named(archive: Archive) -> None:
    with pytest.raises(CannotError, match=r"no such version; trixie has: 6\.12um1\+b22"):
        fetch.fetch("debian/trixie=9.9um1")
    archive.offered.clear()
    with pytest.raises(CannotError, match="trixie has no package user-mode-linux"):
        fetch.fetch("debian/trixie")


def test_a_mirror_that_is_not_debians_is_passed_over(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "machine_mirrors", lambda: ["http://other/debian", "http://m/debian"])
    monkeypatch.setattr(apt, "os_release", dict)

    def source(home: Path, mirror: str, *rest: Any) -> Any:
        if "other" in mirror:
            raise UntrustedError("suite trixie: not signed")
        return archive.source(home, mirror, *rest)

    monkeypatch.setattr(mirror, "PrivateApt", source)
    assert fetch.fetch("debian/trixie").name == "debian/trixie"


def test_a_full_disk_is_told_before_anything_is_fetched(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian_source, "NEEDED_MIB", dict.fromkeys(Flavour, 1 << 40))
    with pytest.raises(CannotError, match="MiB free, this takes up to"):
        fetch.fetch("debian/trixie")
    assert archive.updates == 0


def test_a_damaged_entry_is_named_and_replaced_by_a_fetch(archive: Archive) -> None:
    entry = fetch.fetch("debian/trixie")
    (entry.directory / "linux.uml").unlink()
    with pytest.raises(CannotError, match=r"damaged.*lvslab kernels fetch debian/trixie:uml=6\.12um1\+b22"):
        catalog.find("debian/trixie")
    fetch.fetch("debian/trixie")
    found = catalog.find("debian/trixie")
    assert isinstance(found, UmlKernel) and found.binary.exists()
    assert not list(cache_directory().glob("work-*"))


def test_an_entry_whose_loader_is_gone_is_damaged(archive: Archive) -> None:
    entry = fetch.fetch("debian/trixie")
    kept = json.loads((entry.directory / catalog.ENTRY).read_text())
    (entry.directory / catalog.ENTRY).write_text(json.dumps({**kept, "loader": "/gone/ld.so"}))
    with pytest.raises(CannotError, match="C library in /gone is gone"):
        catalog.find("debian/trixie")


def test_entries_of_other_versions_and_ruins_are_passed_over(archive: Archive) -> None:
    good = fetch.fetch("debian/trixie")
    for number, text in enumerate(("", "[]", "{}", '{"version": 99}')):
        directory = catalog.entry_directory(cache_directory(), Spec("sid"), str(number))
        directory.mkdir(parents=True)
        (directory / catalog.ENTRY).write_text(text)
    assert catalog.entries() == [good]


def test_a_second_fetch_waits_for_the_first(archive: Archive) -> None:
    cache = cache_directory()
    cache.mkdir(parents=True)
    waiting, done = threading.Event(), threading.Event()

    def tell(event: Event) -> None:
        if "waiting" in event.text:
            waiting.set()

    def work() -> None:
        fetch.fetch("debian/trixie", tell=tell)
        done.set()

    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=work, daemon=True)
        second.start()
        assert waiting.wait(20)
        assert not done.is_set() and archive.updates == 0
    assert done.wait(20)


def test_what_was_not_fetched_is_named_with_the_command(archive: Archive) -> None:
    with pytest.raises(
        CannotError, match=r"kernel 'debian/sid': not here; run: lvslab kernels fetch debian/sid:uml$"
    ):
        catalog.find("debian/sid")
    fetch.fetch("debian/trixie")
    with pytest.raises(CannotError, match=r"not here \(here: 6\.12um1\+b22\); run: .*debian/trixie:uml=1$"):
        catalog.find("debian/trixie=1")
