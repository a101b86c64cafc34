"""The kernel catalog without network: names, what apt says, and that an entry appears whole or not
at all.
"""

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
from lvslab.catalog.debian import apt, apt_output, delivery, mirror
from lvslab.catalog.debian import source as debian_source
from lvslab.catalog.debian.apt import PrivateApt
from lvslab.catalog.debian.apt_output import Source, SuiteError, UntrustedError
from lvslab.catalog.debian.elf import Elf
from lvslab.catalog.debian.names import Flavour, Spec
from lvslab.catalog.names import LocalName
from lvslab.catalog.sources import parse_name
from lvslab.errors import CannotError, GuestError, UsageError
from lvslab.events import Event
from lvslab.host.completed import Completed
from lvslab.ipvs import schedulers
from lvslab.ipvs.service import Scheduler
from lvslab.kernels import alone, probe, uml
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.initramfs import ModuleTree
from lvslab.kernels.machine import Lines
from lvslab.kernels.needs import KernelFacts, Need
from lvslab.kernels.qemu import QemuKernel
from lvslab.kernels.uml import UmlKernel

needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="apt-get is not there")
needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not there")
INSTALLED = shutil.which("linux.uml")

FACTS = KernelFacts("uml", "6.12.1", "ab", frozenset({Need.IP_VS}), {Need.SYNPROXY: "no table"}, None)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("debian/trixie", Spec("trixie")),
        ("debian/trixie:uml", Spec("trixie")),
        ("debian/bookworm-updates", Spec("bookworm-updates")),
        ("debian/sid:uml=7.2um1", Spec("sid", "7.2um1")),
        ("debian/trixie=6.12um1+b22", Spec("trixie", "6.12um1+b22")),
        ("debian/forky=7.2~rc1um1", Spec("forky", "7.2~rc1um1")),
        ("debian/trixie:cloud", Spec("trixie", None, Flavour.CLOUD)),
        ("debian/bookworm:amd64=6.1.176-1", Spec("bookworm", "6.1.176-1", Flavour.AMD64)),
    ],
)
def test_names_are_read(text: str, spec: Spec) -> None:
    assert Spec.parse(text) == spec
    assert Spec.parse(str(spec)) == spec


@pytest.mark.parametrize(
    "text",
    [
        "trixie",
        "debian",
        "debian/",
        "debian/../../etc",
        "debian/Sid",
        "debian/sid=",
        "debian/sid=../x",
        "ubuntu/noble",
        "",
    ],
)
def test_other_names_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="debian/SUITE"):
        Spec.parse(text)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UsageError, match=r"unknown kind 'arm64'; there is: uml, cloud, amd64"):
        Spec.parse("debian/sid:arm64")


def test_the_short_name_of_a_flavour_means_no_other() -> None:
    assert [Spec("sid", None, each).name for each in Flavour] == [
        "debian/sid",
        "debian/sid:cloud",
        "debian/sid:amd64",
    ]
    places = {catalog.entry_directory(Path("/c"), Spec("sid", None, each), "1") for each in Flavour}
    assert len(places) == len(Flavour), "two flavours of one version share a directory"


def test_local_names() -> None:
    assert parse_name("local/6.1.192+mine") == LocalName("6.1.192+mine") == LocalName.parse("6.1.192+mine")
    assert str(LocalName("a")) == "local/a"
    for bad in ("local/", "local/../x", "local/.x", "local/a b", "local/a/b", ""):
        with pytest.raises(UsageError, match="kernel name"):
            LocalName.parse(bad)


# -- what apt says ---------------------------------------------------------------------------------


def test_only_sources_with_debians_suites_are_mirrors() -> None:
    shown = """\
http://mirror.example/debian/|bookworm|main
http://mirror.example/debian/|bookworm|main
http://mirror.example/debian/|bookworm-updates|contrib
http://mirror.example/debian-security/|bookworm-security|main
https://apt.example/pgdg/|jammy|main
https://docker.example/linux/debian/|bookworm|stable
https://next.example/debian/|trixie|main
https://future.example/debian/|zurg|main
noise
"""
    sources = apt_output.parse_sources(shown)
    assert sources[0] == Source("http://mirror.example/debian", "bookworm", "main")
    assert apt_output.debian_mirrors(sources, None) == [
        "http://mirror.example/debian",
        "https://next.example/debian",
    ]
    assert apt_output.debian_mirrors(sources, "zurg")[-1] == "https://future.example/debian"


@needs_apt
def test_the_machines_sources_are_read_in_both_formats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.sources").write_text(
        "Types: deb\nURIs: http://one.example/debian\nSuites: trixie trixie-updates\nComponents: main\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n"
    )
    (tmp_path / "parts" / "b.list").write_text(
        "deb [arch=amd64] http://two.example/debian/ bookworm main contrib\n"
    )
    (tmp_path / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "{tmp_path}/parts"; Dir::State::lists'
        f' "{tmp_path}/lists";'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    assert apt.machine_mirrors() == ["http://one.example/debian", "http://two.example/debian"]
    (tmp_path / "parts" / "a.sources").unlink()
    (tmp_path / "parts" / "b.list").write_text("deb http://other.example/ubuntu noble main\n")
    with pytest.raises(CannotError, match=r"no Debian mirror.*other\.example.*noble"):
        apt.machine_mirrors()


MADISON = """\
user-mode-linux |    7.2um1 | http://deb.example/debian sid/main amd64 Packages
user-mode-linux | 6.12um1+b22 | http://deb.example/debian trixie/main amd64 Packages
user-mode-linux |    6.12um1 | http://deb.example/debian trixie/main Sources
user-mode-linux-doc |    6.12um1 | http://deb.example/debian trixie/main amd64 Packages
"""


def test_versions_of_one_suite() -> None:
    assert apt_output.parse_madison(MADISON, "user-mode-linux", "sid") == ["7.2um1"]
    assert apt_output.parse_madison(MADISON, "user-mode-linux", "trixie") == ["6.12um1+b22", "6.12um1"]
    assert apt_output.parse_madison("", "user-mode-linux", "sid") == []


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("dlstatus:1:20.4761:Retrieving file 1 of 2 (3s remaining)\n", 20.4761),
        ("dlstatus:3:100.0000:Retrieving file 3 of 3", 100.0),
        ("pmstatus:dpkg-exec:0:Running dpkg", None),
        ("dlstatus:1:x:y", None),
        ("", None),
    ],
)
def test_progress_of_apt(line: str, meaning: float | None) -> None:
    assert apt_output.parse_status(line) == meaning


@pytest.mark.parametrize(
    ("output", "kind", "cause"),
    [
        (
            (
                "Ign:1 http://m trixie InRelease\nErr:1 http://m trixie InRelease\n  Temporary failure"
                " resolving 'm'\nE: Failed to fetch http://m/dists/trixie/InRelease  Temporary failure"
                " resolving 'm'\n"
            ),
            CannotError,
            "cannot be reached",
        ),
        (
            "E: The repository 'http://m nosuch Release' does not have a Release file.",
            SuiteError,
            "does not have it",
        ),
        (
            (
                "W: GPG error: http://m sid InRelease: The following signatures couldn't be verified because"
                " the public key is not available: NO_PUBKEY 6ED0E7B82643E131\nE: The repository 'http://m"
                " sid InRelease' is not signed."
            ),
            UntrustedError,
            "--only-upgrade debian-archive-keyring",
        ),
        ("dpkg-deb: error: failed to write (No space left on device)", CannotError, "disk is full"),
        ("E: Failed to fetch http://m/x.deb  Hash Sum mismatch", CannotError, "try again"),
        ("W: something\nE: Quite new trouble\n", CannotError, "Quite new trouble"),
        ("", CannotError, "no output"),
    ],
)
def test_what_apt_says_is_explained(output: str, kind: type[CannotError], cause: str) -> None:
    error = apt_output.explain(output, "suite x", "http://m")
    assert type(error) is kind
    assert cause in str(error)
    assert str(error).startswith("suite x: ")
    assert "\n" not in str(error)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository on disk that nobody signed."""
    suite = tmp_path / "repository" / "dists" / "trixie"
    (suite / "main" / "binary-amd64").mkdir(parents=True)
    (suite / "main" / "binary-amd64" / "Packages").touch()
    (suite / "Release").write_text(
        "Origin: Debian\nSuite: trixie\nComponents: main\nArchitectures: amd64\nDate: Mon, 02 Jun 2025"
        " 10:00:00 UTC\n"
    )
    return tmp_path / "repository"


def _private(tmp_path: Path, repository: Path, suite: str) -> PrivateApt:
    keyring = tmp_path / "keys.gpg"
    keyring.touch()
    return PrivateApt(tmp_path / "home", f"file:{repository}", [suite], keyring, lambda event: None)


@needs_apt
def test_an_unsigned_suite_is_refused(tmp_path: Path, repository: Path) -> None:
    source = _private(tmp_path, repository, "trixie")
    with pytest.raises(UntrustedError, match="not signed"):
        source.update()
    assert source.versions("user-mode-linux", "trixie") == []


@needs_apt
def test_a_suite_that_the_mirror_lacks_is_named(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(SuiteError, match=r"suite nosuch: file:.* does not have it"):
        _private(tmp_path, repository, "nosuch").update()


@needs_dpkg
def test_a_damaged_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(b"not a package")
    with pytest.raises(CannotError, match=r"^x\.deb: "):
        apt.unpack(tmp_path / "x.deb", tmp_path / "files")


@needs_dpkg
def test_the_newest_version_by_debians_order() -> None:
    assert apt.newest_version(["6.12um1+b9", "6.12um1+b22", "6.12~rc1um1", "6.1um4"]) == "6.12um1+b22"


# -- programs with another C library ---------------------------------------------------------------


@pytest.mark.skipif(not INSTALLED, reason="user-mode-linux is not installed")
def test_a_redirected_program_runs_with_the_loader_and_libraries_beside_it(tmp_path: Path) -> None:
    assert INSTALLED
    program = tmp_path / "linux.uml"
    shutil.copy2(INSTALLED, program)
    loader = tmp_path / "a rather long directory name" / "loader"
    loader.parent.mkdir()
    before = Elf(program)
    host_loader, needed = before.loader, before.needed
    before.redirect(loader)
    assert Elf(program).loader == str(loader)
    assert Elf(program).needed == needed
    assert delivery.why_not_starting(program), "it started with a loader that does not exist"
    shutil.copy2(host_loader, loader)
    assert delivery.why_not_starting(program) is None
    (tmp_path / "libc.so.6").write_bytes(b"not a library")
    assert "libc.so.6" in (delivery.why_not_starting(program) or ""), "it does not look beside itself"


def test_other_files_are_no_programs(tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + bytes(200))):
        path = tmp_path / str(number)
        path.write_bytes(data)
        with pytest.raises(CannotError, match="not a dynamically linked"):
            Elf(path)


# -- entries ---------------------------------------------------------------------------------------


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


def _nothing_left(cache: Path) -> bool:
    return {path.name for path in cache.iterdir()} <= {"lock", "refused.console"}


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
    assert _nothing_left(cache_directory())


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
    assert _nothing_left(cache_directory())
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
    assert catalog.find("debian/trixie").binary.exists()
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


# -- kernels ---------------------------------------------------------------------------------------


def test_a_directory_is_a_kernel_only_when_it_is_whole(tmp_path: Path) -> None:
    (tmp_path / "linux.uml").touch()
    with pytest.raises(CannotError, match="not a whole kernel"):
        UmlKernel.at(tmp_path)
    for release in ("6.1", "6.2"):
        (tmp_path / "modules" / release).mkdir(parents=True)
    (tmp_path / "modules" / "6.1" / "modules.dep").touch()
    assert UmlKernel.at(tmp_path).modules.release == "6.1"
    (tmp_path / "modules" / "6.2" / "modules.dep").touch()
    with pytest.raises(CannotError, match="one tree"):
        UmlKernel.at(tmp_path)


def test_extra_arguments_are_passed_and_make_another_kernel_for_kept_results(tmp_path: Path) -> None:
    (tmp_path / "linux.uml").touch()
    (tmp_path / "modules" / "6.1").mkdir(parents=True)
    (tmp_path / "modules" / "6.1" / "modules.dep").touch()
    plain, fast = UmlKernel.at(tmp_path), UmlKernel.at(tmp_path, ("seccomp=on",))
    assert plain == UmlKernel(tmp_path / "linux.uml", ModuleTree(tmp_path / "modules" / "6.1"))
    assert plain.identity != fast.identity
    common: dict[str, Any] = {
        "memory_mib": 1,
        "directory": tmp_path,
        "image": tmp_path,
        "modules": [],
        "lines": Lines(agent=3, terminal=4, streams=()),
    }
    words, more = uml.arguments(plain, "a", **common), uml.arguments(fast, "a", **common)
    assert [word for word in more if word not in words] == ["seccomp=on"]


def test_facts_survive_being_kept() -> None:
    assert probe.facts_from_json(json.loads(json.dumps(probe.facts_to_json(FACTS)))) == FACTS
    with pytest.raises(ValueError, match="another version"):
        probe.facts_from_json({**probe.facts_to_json(FACTS), "version": -1})


# -- stock kernels ---------------------------------------------------------------------------------


class Suite:
    """What a suite's packages depend on."""

    def __init__(self, depends: dict[str, str]) -> None:
        self._depends = depends

    def depends(self, package: str, version: str) -> dict[str, str]:
        return apt_output.parse_depends(
            f"Package: {package}\nDepends: {self._depends.get(package, '')}\nDescription: x\n"
        )


def test_the_packages_of_a_stock_kernel_are_found_whether_it_is_one_or_split() -> None:
    early = Suite(
        {
            "linux-image-amd64": "linux-image-6.1.0-50-amd64 (= 6.1.176-1)",
            "linux-image-6.1.0-50-amd64": (
                "kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | linux-initramfs-tool"
            ),
        }
    )
    assert delivery.stock_packages(early, "linux-image-amd64", "6.1.176-1") == {
        "linux-image-6.1.0-50-amd64": "6.1.176-1"
    }  # type: ignore[arg-type]
    parts = [f"linux-{part}-7.2.13-cloud" for part in ("base", "binary", "modules")]
    late = Suite(
        {
            "linux-image-cloud-amd64": (
                "linux-base-cloud-amd64 (= 7.2.13-1), linux-image-7.2.13-cloud (= 7.2.13-1)"
            ),
            "linux-image-7.2.13-cloud": ", ".join(
                ["dracut | initramfs-tools", *(f"{part} (= 7.2.13-1)" for part in parts)]
            ),
        }
    )
    assert delivery.stock_packages(late, "linux-image-cloud-amd64", "7.2.13-1") == dict.fromkeys(  # type: ignore[arg-type]
        ["linux-image-7.2.13-cloud", *parts], "7.2.13-1"
    )


def test_the_trial_of_schedulers_believes_what_worked_only() -> None:
    assert schedulers.schedulers_had("=has rr\nnoise\n=has twos\n=has nothing\n") == (
        Scheduler.RR,
        Scheduler.TWOS,
    )
    ran: list[str] = []
    assert schedulers.try_schedulers(lambda script: ran.append(script) or Completed(0, "=has mh\n", "")) == (
        Scheduler.MH,
    )  # type: ignore[func-returns-value]
    assert all(f" {each}" in ran[0] for each in Scheduler)


def test_a_stock_kernel_without_9p_is_for_the_bench_only(tmp_path: Path) -> None:
    tree = tmp_path / "modules" / "6.1"
    tree.mkdir(parents=True)
    (tmp_path / "vmlinuz").touch()
    (tree / "modules.dep").write_text("kernel/net/9p/9pnet_virtio.ko:\nkernel/fs/9p/9p.ko:\n")
    (tree / "modules.builtin").write_text(
        "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\n"
    )
    assert QemuKernel.at(tmp_path).cannot_direct() is None
    (tree / "modules.dep").write_text("kernel/net/9p/9pnet_virtio.ko:\n")
    assert (
        QemuKernel.at(tmp_path).cannot_direct()
        == "the kernel has no 9p, so it cannot see the machine's programs"
    )
    assert "console=ttyS0 panic=-1 quiet" in alone.arguments(tmp_path / "vmlinuz", tmp_path / "cpio")
