"""Kernel configurations and source trees: what is read, recognised, refused, and left as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import configure, tree
from lvslab.catalog.tree import SourceTree
from lvslab.errors import CannotError, UsageError
from lvslab.events import Event
from lvslab.ipvs.service import Scheduler
from tests.unit.catalogs import make_tree

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not there")


# -- configurations --------------------------------------------------------------------------------


def test_a_configuration_is_read() -> None:
    text = '# a comment\nCONFIG_A=y\n\n# CONFIG_B is not set\nCONFIG_C="a b"\n  CONFIG_D=m\n'
    assert configure.parse(text, "x") == {"A": "y", "B": "n", "C": '"a b"', "D": "m"}


@pytest.mark.parametrize("line", ["CONFIG_A", "A=y", "IP_VS=m", "CONFIG A=y", "#!/bin/sh\nset -e"])
def test_a_line_that_is_no_option_is_named_with_its_number(line: str) -> None:
    number = 1 + line.count("\n") + 1
    with pytest.raises(UsageError, match=rf"^my\.config: line {number}: "):
        configure.parse(f"CONFIG_X=y\n{line}\n", "my.config")


def test_the_last_layer_decides() -> None:
    text = configure.text({"A": "y", "B": "y"}, {"A": "m"}, {"B": "n", "C": "y"})
    assert configure.parse(text, "x") == {"A": "m", "B": "n", "C": "y"}
    assert "# CONFIG_B is not set\n" in text, "B=n is no valid line of a .config"


def test_what_did_not_come_out_is_found() -> None:
    asked = {"SAME": "y", "BUILTIN": "m", "MODULE": "y", "GONE": "m", "OFF": "n", "ON": "n", "ZERO": "n"}
    got = {"SAME": "y", "BUILTIN": "y", "MODULE": "m", "ON": "y", "ZERO": "0"}
    assert [each.option for each in configure.unmet(asked, got)] == ["MODULE", "GONE", "ON"]
    assert configure.unmet({"ZERO": "y"}, got), "a number of 0 is not what y asks for"


def test_reasons_come_from_the_trees_kconfig_files(tmp_path: Path) -> None:
    (tmp_path / "net" / "ipvs").mkdir(parents=True)
    (tmp_path / "net" / "ipvs" / "Kconfig").write_text(
        "menuconfig IP_VS\n\ttristate 'IPVS'\n\tdepends on NET && NETFILTER\n\tdepends on !FLAT\n\nif"
        " IP_VS\nconfig IP_VS_IPV6\n\tbool\n\n\t  Help that says depends on nothing.\nendif\nconfig"
        " OTHER\n\tdepends on NEVER\n"
    )
    problems = [
        configure.Unmet("IP_VS", "m", "n"),
        configure.Unmet("IP_VS_TWOS", "m", "n"),
        configure.Unmet("OTHER", "n", "y"),
    ]
    first, second, third = configure.explained(problems, tmp_path, {"NET": "y"})
    assert first.reason == "it depends on NET && NETFILTER and !FLAT; not set: NETFILTER"
    assert second.reason == "this tree does not know it"
    assert third.reason == "another option selects it"
    assert str(second) == "CONFIG_IP_VS_TWOS=m (got n: this tree does not know it)"


def test_the_shipped_fragments_ask_for_all_of_ipvs_and_do_not_contradict_each_other() -> None:
    guest, features = configure.shipped("guest"), configure.shipped("features")
    assert not guest.keys() & features.keys()
    both = {**guest, **features}
    assert [each for each in Scheduler if both.get(f"IP_VS_{each.upper()}") != "m"] == []
    for option in (
        "HOSTFS",
        "UML_NET_VECTOR",
        "OVERLAY_FS",
        "IP_VS_IPV6",
        "NET_SCH_NETEM",
        "NET_IPIP",
        "UML_TIME_TRAVEL_SUPPORT",
    ):
        assert both[option] != "n"
    assert both["PTP_1588_CLOCK"] == "n"


# -- trees -----------------------------------------------------------------------------------------


def archive(source: Path, path: Path) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        tar.add(source, "linux-source-6.1")
    return path


def test_a_tree_is_recognised_by_what_it_holds(tmp_path: Path) -> None:
    found = tree.recognise(make_tree(tmp_path / "linux"))
    assert (found.version, found.archived) == ("6.1.192", False)
    assert tree.recognise(archive(tmp_path / "linux", tmp_path / "linux-source-6.1.tar.xz")).archived
    (tmp_path / "linux" / "Makefile").write_text(
        "VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 0\nEXTRAVERSION = -rc2\n"
    )
    assert tree.makefile_version(tmp_path / "linux") == "7.3.0-rc2"


def test_what_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not there; .*apt-get install linux-source"):
        tree.recognise(tmp_path / "nothing")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="no kernel source; give a source tree's directory"):
        tree.recognise(tmp_path / "text")
    (tmp_path / "Makefile").write_text("all:\n\ttrue\n")
    with pytest.raises(UsageError, match="no kernel source tree; it has no Makefile of the kernel's"):
        tree.recognise(tmp_path)
    (tmp_path / "linux-source-6.1.tar.xz").touch()
    with pytest.raises(UsageError, match=r"did you mean .*/linux-source-6\.1\.tar\.xz\?"):
        tree.recognise(tmp_path)
    shutil.rmtree(make_tree(tmp_path / "linux") / "arch")
    with pytest.raises(UsageError, match="no arch/um"):
        tree.recognise(tmp_path / "linux")


def _listing(where: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in where.rglob("*") if path.is_file()
    }


def test_a_tree_is_copied_without_what_git_and_builds_keep_there_and_stays_as_it_is(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "linux")
    (source / ".git").mkdir()
    (source / ".git" / "HEAD").touch()
    (source / "net").mkdir()
    for name in ("a.c", "a.o", ".a.o.cmd", "a.ko"):
        (source / "net" / name).touch()
    before = _listing(source)
    assert tree.take_over(SourceTree(source, "6.1.192"), tmp_path / "copy", lambda event: None) == "6.1.192"
    assert _listing(source) == before
    assert not (tmp_path / "copy" / ".git").exists()
    assert [path.name for path in (tmp_path / "copy" / "net").iterdir()] == ["a.c"]
    copied = (tmp_path / "copy" / "Makefile").stat().st_mtime_ns
    assert copied // 10**9 == (source / "Makefile").stat().st_mtime_ns // 10**9, (
        "new times would build everything anew"
    )


def test_a_file_that_is_edited_while_the_tree_is_copied_is_taken_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, copy = make_tree(tmp_path / "linux"), tmp_path / "copy"
    passes = 0

    def pass_and_edit(*arguments: Any) -> None:
        nonlocal passes
        pass_on(*arguments)
        passes += 1
        if passes == 1:
            assert not (copy / "edited.c").exists()
            (source / "edited.c").write_text("new")

    pass_on = tree._pass_on
    monkeypatch.setattr(tree, "_pass_on", pass_and_edit)
    tree.take_over(SourceTree(source, "6.1.192"), copy, lambda event: None)
    assert passes == 2 and (copy / "edited.c").read_text() == "new"


def test_a_tree_that_goes_on_changing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tar that says so stands for one that meets a writer, whose moment no test can choose."""
    (programs := tmp_path / "programs").mkdir()
    real = shutil.which("tar")
    (programs / "tar").write_text(
        "#!/bin/sh\n"
        'case "$*" in *--newer-mtime*) echo "tar: ./a.c: file changed as we read it" >&2;; esac\n'
        f'exec {real} "$@"\n'
    )
    (programs / "tar").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(CannotError, match="linux: goes on changing while it is copied"):
        tree.take_over(
            SourceTree(make_tree(tmp_path / "linux"), "6.1.192"), tmp_path / "copy", lambda event: None
        )


def test_an_archive_is_unpacked_with_progress(tmp_path: Path) -> None:
    told: list[Event] = []
    path = archive(make_tree(tmp_path / "linux"), tmp_path / "a.tar.xz")
    assert tree.take_over(SourceTree(path, ""), tmp_path / "copy", told.append) == "6.1.192"
    assert (tmp_path / "copy" / "arch" / "um").is_dir()
    assert any("left" in event.text for event in told)


def test_a_damaged_archive_and_one_of_something_else_are_refused(tmp_path: Path) -> None:
    path = archive(make_tree(tmp_path / "linux"), tmp_path / "a.tar.xz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UsageError, match=r"a\.tar\.xz: cannot be unpacked"):
        tree.take_over(SourceTree(path, ""), tmp_path / "1", lambda event: None)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README").touch()
    with pytest.raises(UsageError, match="holds no whole kernel source tree"):
        tree.take_over(
            SourceTree(archive(tmp_path / "other", tmp_path / "b.tar.xz"), ""),
            tmp_path / "2",
            lambda event: None,
        )


def test_a_built_tree_is_noticed(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "linux")
    assert not tree.unclean(source)
    (source / ".config").touch()
    assert tree.unclean(source)


@needs_git
def test_a_checkout_is_described_and_not_written_to(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "linux")
    assert tree.git_description(source) is None
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v6.1"]):
        subprocess.run(
            ["git", "-C", source, "-c", "user.name=x", "-c", "user.email=x@example", *words], check=True
        )
    os.utime(source / "Kconfig")  # git would refresh its index for this
    before = _listing(source)
    assert tree.git_description(source) == "v6.1"
    assert _listing(source) == before
    (source / "Kconfig").write_text("changed")
    assert tree.git_description(source) == "v6.1-dirty"
