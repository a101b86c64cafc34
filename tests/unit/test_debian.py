"""Debian's kernels without network: their names, what apt says and what it means, programs with
another C library, and which packages a kernel comes in.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from lvslab.catalog.debian import apt, apt_output, delivery
from lvslab.catalog.debian.apt import PrivateApt
from lvslab.catalog.debian.apt_output import Source, SuiteError, UntrustedError
from lvslab.catalog.debian.elf import Elf
from lvslab.catalog.debian.names import Flavour, Spec
from lvslab.errors import CannotError, UsageError

needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="apt-get is not there")
needs_dpkg = pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not there")
INSTALLED = shutil.which("linux.uml")


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


# -- packages --------------------------------------------------------------------------------------


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
    }
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
    assert delivery.stock_packages(late, "linux-image-cloud-amd64", "7.2.13-1") == dict.fromkeys(
        ["linux-image-7.2.13-cloud", *parts], "7.2.13-1"
    )
