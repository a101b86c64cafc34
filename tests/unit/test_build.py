"""Building and adding kernels without compiling or booting any: configurations, trees, what is
refused, and that nothing half is left.
"""

from __future__ import annotations

import lzma
import os
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import add, build, catalog, configure, stock, store, tree
from lvslab.catalog.names import LocalName
from lvslab.catalog.pace import Pace, duration
from lvslab.catalog.tree import SourceTree
from lvslab.errors import CannotError, GuestError, LabError, UsageError
from lvslab.events import Event
from lvslab.host.programs import packages
from lvslab.ipvs.service import Scheduler
from lvslab.kernels import bzimage, kinds, probe
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.needs import KernelFacts, Need
from lvslab.kernels.uml import UmlKernel

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not there")
needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not there")
INSTALLED = shutil.which("linux.uml")


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
    asked = {"SAME": "y", "BUILTIN": "m", "MODULE": "y", "GONE": "m", "OFF": "n", "ON": "n"}
    got = {"SAME": "y", "BUILTIN": "y", "MODULE": "m", "ON": "y"}
    assert [each.option for each in configure.unmet(asked, got)] == ["MODULE", "GONE", "ON"]


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

MAKEFILE = "# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 192\nEXTRAVERSION =\nNAME = Curry Ramen\n"


def make_tree(where: Path, rules: str = "") -> Path:
    """What is recognised as a kernel source tree."""
    (where / "arch" / "um").mkdir(parents=True)
    (where / "Kconfig").touch()
    (where / "COPYING").write_text("GPL-2.0\n")
    (where / "Makefile").write_text(MAKEFILE + rules)
    return where


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


# -- what is looked at before a build --------------------------------------------------------------


def test_missing_tools_are_named_with_the_command(tmp_path: Path) -> None:
    for program in build.TOOLS.keys() - {"flex", "depmod"}:
        (tmp_path / program).touch(mode=0o755)
    with pytest.raises(CannotError, match=r"flex, depmod.* not found; run: apt-get install flex kmod"):
        build.require_tools(str(tmp_path))


def test_wrong_input_is_found_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "require_tools", lambda: None)
    source, fragment = make_tree(tmp_path / "linux"), tmp_path / "my.config"
    with pytest.raises(UsageError, match=r"my\.config: cannot be read"):
        build.prepare(source, fragment)
    fragment.write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(UsageError, match=r"my\.config: cannot be read"):
        build.prepare(source, fragment)
    fragment.write_text("# CONFIG_HOSTFS is not set\nCONFIG_IP_VS=y\n")
    with pytest.raises(UsageError, match=r"my\.config: a guest of lvslab needs CONFIG_HOSTFS$"):
        build.prepare(source, fragment)
    fragment.write_text("CONFIG_IP_VS=y\n# CONFIG_IP_VS_MH is not set\n")
    with pytest.raises(UsageError, match=r"kernel name '\.\./x'"):
        build.prepare(source, fragment, "../x")
    request = build.prepare(source, fragment, "mine")
    assert (request.fragment, str(request.name)) == ({"IP_VS": "y", "IP_VS_MH": "n"}, "local/mine")


def test_the_command_line_of_make() -> None:
    assert build.make_command("tinyconfig", jobs=2, ccache=False) == [
        "make",
        "ARCH=um",
        "CC=gcc",
        "HOSTCC=gcc",
        "-j2",
        "tinyconfig",
    ]
    assert build.make_command(jobs=3, ccache=True) == [
        "make",
        "ARCH=um",
        "CC=ccache gcc",
        "HOSTCC=ccache gcc",
        "-j3",
    ]


def test_of_a_failed_build_the_first_error_is_shown() -> None:
    log = [f"  CC a{number}.o" for number in range(50)]
    assert build.last_lines(log, 2) == ["  CC a48.o", "  CC a49.o"]
    log[10] = "ip_vs_rr.c:1:1: error: expected"
    assert build.last_lines(log, 2) == ["ip_vs_rr.c:1:1: error: expected", "  CC a11.o"]


def test_the_time_left_follows_the_pace() -> None:
    now = 100.0
    pace = Pace(0.25, lambda: now)
    assert pace.at(0.2) is None
    now = 115.0
    assert pace.at(0.25) == "25 %, 45 s left"
    assert pace.at(0.3) is None
    now = 140.0
    assert pace.at(0.3) == "30 %, 93 s left".replace("93 s", duration(93)), "slow work is told of, too"
    now = 200.0
    assert pace.at(0.3) is None, "nothing has happened since"
    assert pace.at(2.0) == "99 %, 1 s left", "an estimate that was too small must not say that all is done"


# -- a build, by a Makefile in the place of the kernel's -------------------------------------------

RULES = """
tinyconfig:
	echo "# CONFIG_NOTHING is not set" >.config
olddefconfig:
	grep -v LACKING .config >.config.new; mv .config.new .config
mrproper:
	rm -rf .config include
all:
	mkdir -p include/config; echo 6.1.192 >include/config/kernel.release
	echo "  CC      one.o"; echo program >linux
modules_install:
	mkdir -p $(INSTALL_MOD_PATH)/lib/modules/6.1.192/kernel
	touch $(INSTALL_MOD_PATH)/lib/modules/6.1.192/modules.builtin $(INSTALL_MOD_PATH)/lib/modules/6.1.192/modules.order
	ln -s / $(INSTALL_MOD_PATH)/lib/modules/6.1.192/build
.DEFAULT_GOAL = all
"""  # noqa: E501


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The trial boot's answer, which a test may change; the cache is the test's."""
    facts = KernelFacts("uml", "6.1.192", "ab", frozenset({Need.IP_VS}), {Need.SYNPROXY: "no table"}, None)
    answer: dict[str, Any] = {"extra_arguments": [], "boot_seconds": 0.5, "facts": probe.facts_to_json(facts)}

    def run_trial(directory: Path, console: Path, result: Path) -> dict[str, Any]:
        console.write_text("Linux version 6.1.192\nKernel panic - not syncing\n")
        return answer

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "run_trial", run_trial)
    monkeypatch.setattr(build, "NEEDED_MIB", 0)
    yield answer


def _request(where: Path, rules: str = RULES, **options: Any) -> build.BuildRequest:
    source = make_tree(where / "linux", rules) if not (where / "linux").exists() else where / "linux"
    (source / "Makefile").write_text(MAKEFILE + rules)
    return build.BuildRequest(
        tree.recognise(source), options.pop("fragment", {}), where / "my.config", **options
    )


def _nothing_left(*more: str) -> bool:
    return {path.name for path in cache_directory().iterdir()} <= {"lock", *more}


@needs_make
def test_a_build_ends_in_the_catalog(tmp_path: Path, trial: dict[str, Any]) -> None:
    told: list[Event] = []
    entry = build.build(_request(tmp_path), tell=told.append)
    assert (entry.name, entry.full_name, entry.release) == ("local/6.1.192", "local/6.1.192", "6.1.192")
    assert catalog.find_entry("local/6.1.192") == entry == catalog.entries()[0]
    kernel = catalog.find("local/6.1.192")
    assert kernel.modules.release == "6.1.192"
    assert (entry.directory / "config").is_file()
    assert not (entry.directory / "modules" / "6.1.192" / "build").exists()
    assert entry.details["tree"] == str(tmp_path / "linux")
    assert any("compiling Linux 6.1.192" in event.text for event in told)
    assert not list(cache_directory().glob("work-*"))


@needs_make
def test_a_kernel_of_the_same_name_is_replaced(tmp_path: Path, trial: dict[str, Any]) -> None:
    first = build.build(_request(tmp_path, name=LocalName("mine")))
    (first.directory / "linux.uml").write_text("old")
    second = build.build(_request(tmp_path, name=LocalName("mine")))
    assert [each.name for each in catalog.entries()] == ["local/mine"]
    assert (second.directory / "linux.uml").read_text() == "program\n"
    assert second.fetched > first.fetched


@needs_make
def test_what_the_tree_does_not_give_is_refused_or_told(tmp_path: Path, trial: dict[str, Any]) -> None:
    told: list[Event] = []
    with pytest.raises(
        UsageError,
        match=r"6\.1\.192 does not give what .*my\.config needs: CONFIG_LACKING=y \(got n: this tree does",
    ):
        build.build(_request(tmp_path, fragment={"LACKING": "y"}))
    with pytest.raises(UsageError, match=r"what a guest of lvslab needs: CONFIG_HOSTFS=y"):
        build.build(_request(tmp_path, RULES.replace("LACKING", "HOSTFS")))
    entry = build.build(_request(tmp_path, RULES.replace("LACKING", "IP_VS_MH")), tell=told.append)
    assert entry.details["without"] == {"IP_VS_MH": "this tree does not know it"}
    assert any(event.text.startswith("without CONFIG_IP_VS_MH=m") for event in told)


@needs_make
def test_a_failed_build_shows_the_error_and_keeps_the_log(tmp_path: Path, trial: dict[str, Any]) -> None:
    rules = RULES.replace("echo program >linux", 'echo "rr.c:1: error: no"; exit 1')
    with pytest.raises(
        LabError, match=r"(?s)compiling .*make failed \(log: .*build\.log\).*\n    rr\.c:1: error: no"
    ):
        build.build(_request(tmp_path, rules))
    assert "error: no" in (cache_directory() / "build.log").read_text()
    assert catalog.entries() == [] and _nothing_left("build.log")


@needs_make
def test_a_built_kernel_that_does_not_boot_is_refused_and_kept_aside(
    tmp_path: Path, trial: dict[str, Any]
) -> None:
    trial["error"] = "trial: guest kernel died"
    refused = (
        r"(?s)'local/6\.1\.192': refused, trial: guest kernel died; it is kept in .*/refused, .*\n    Kernel"
        r" panic - not syncing$"
    )
    for _ in range(2):
        with pytest.raises(GuestError, match=refused):
            build.build(_request(tmp_path))
    assert catalog.entries() == [] and _nothing_left("refused.console", "refused")
    assert kinds.kernel_at(cache_directory() / "refused").modules.release == "6.1.192"


BUILD = """
import sys
from pathlib import Path
from lvslab.catalog import build, tree
build.NEEDED_MIB = 0
build.build(build.BuildRequest(tree.recognise(Path(sys.argv[1])), {}))
"""


def _gone(pid: int) -> bool:
    """Whether a process has ended; nobody may have asked for its exit status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@needs_make
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_compiler_and_no_entry(
    tmp_path: Path, trial: dict[str, Any], how: signal.Signals
) -> None:
    hanging = tmp_path / "pid"
    os.mkfifo(hanging)
    rules = RULES.replace("echo program >linux", f"echo $$$$ >{hanging}; exec sleep 1000")
    request = _request(tmp_path, rules)
    child = subprocess.Popen(
        [sys.executable, "-c", BUILD, str(request.source.path)],
        stderr=subprocess.DEVNULL,
        env=os.environ.copy(),
    )
    with hanging.open() as line:
        compiler = int(line.read())
    child.send_signal(how)
    assert child.wait(20) != 0
    assert catalog.entries() == []
    if (
        how is signal.SIGKILL
        # what make had started ends in the sandbox that the command line makes; the lab tests show
        # it
    ):
        os.kill(compiler, signal.SIGKILL)
        assert list(cache_directory().glob("work-*")), "the test does not show anything: nothing was left"
    else:
        assert _gone(compiler)
    build.build(_request(tmp_path))
    assert len(catalog.entries()) == 1 and not list(cache_directory().glob("work-*"))


def test_a_full_disk_is_told_before_a_build(
    tmp_path: Path, trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "NEEDED_MIB", 1 << 40)
    with pytest.raises(CannotError, match="MiB free, this takes up to"):
        build.build(_request(tmp_path))
    assert _nothing_left()


# -- stock kernels ---------------------------------------------------------------------------------


def stock_image(release: str) -> bytes:
    """The first bytes of a bzImage (Documentation/arch/x86/boot.rst)."""
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x100)
    text = f"{release} (debian) #1\0".encode()
    head[0x300 : 0x300 + len(text)] = text
    return bytes(head)


def test_modules_of_hardware_are_left_out_and_what_is_needed_stays() -> None:
    dependencies = {
        "kernel/net/netfilter/ipvs/ip_vs.ko": [
            "kernel/net/netfilter/nf_conntrack.ko",
            "kernel/lib/libcrc32c.ko",
        ],
        "kernel/net/netfilter/nf_conntrack.ko": [],
        "kernel/lib/libcrc32c.ko": [],
        "kernel/drivers/net/veth.ko.xz": [],
        "kernel/drivers/net/ethernet/intel/ice/ice.ko": [],
        "kernel/drivers/net/ethernet/intel/e1000/e1000.ko": ["kernel/drivers/pps/pps_core.ko"],
        "kernel/drivers/pps/pps_core.ko": [],
        "kernel/drivers/gpu/drm/i915/i915.ko": [],
        "kernel/net/mac80211/mac80211.ko": [],
        "kernel/fs/9p/9p.ko": [],
        "kernel/fs/xfs/xfs.ko": [],
    }
    left_out = dependencies.keys() - stock.closure(dependencies, stock.wanted)
    assert {path.rsplit("/", 1)[1] for path in left_out} == {"ice.ko", "i915.ko", "mac80211.ko", "xfs.ko"}


def test_the_release_of_an_image(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(stock_image("6.1.0-50-amd64"))
    assert bzimage.release_of(image) == "6.1.0-50-amd64"
    image.write_bytes(b"hello")
    assert bzimage.release_of(image) is None


# -- adding ----------------------------------------------------------------------------------------


def elf(machine: int = 62, kind: int = 2) -> bytes:
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", kind, machine) + bytes(100)


def arm_image() -> bytes:
    return bytes(0x38) + b"ARM\x64" + bytes(0x400)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"just text\n", "no kernel; give a User-Mode Linux program"),
        (b"", "no kernel"),
        (arm_image(), "a kernel for ARM; lvslab boots x86-64 only"),
        (elf(machine=183), "a program for ARM; lvslab boots x86-64 only"),
        (elf(kind=1), "an object file"),
        (elf(), "a program, but not User-Mode Linux; .*bzImage, not vmlinux"),
        (lzma.compress(bytes(5000)), "no kernel"),
    ],
)
def test_what_is_no_kernel_is_refused(tmp_path: Path, data: bytes, cause: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(UsageError, match=rf"^{tmp_path}/file: {cause}"):
        add.prepare(tmp_path / "file")


def _modules(where: Path, release: str) -> Path:
    (where / release / "kernel").mkdir(parents=True)
    (where / release / "modules.builtin").touch()
    return where / release


def _uml(path: Path) -> Path:
    path.write_bytes(elf() + b"User Mode Linux v%s\0")
    return path


def test_a_kernel_and_its_modules_are_found(tmp_path: Path) -> None:
    program = _uml(tmp_path / "linux")
    with pytest.raises(
        UsageError, match="no kernel modules modules/RELEASE; give their directory: --modules DIR"
    ):
        add.prepare(tmp_path)
    _modules(tmp_path / "modules", "6.1.5")
    assert add.prepare(tmp_path).program == program
    found = add.prepare(program)
    assert (found.kind, found.modules, str(found.name), found.config) == (
        UmlKernel,
        tmp_path / "modules" / "6.1.5",
        "local/6.1.5",
        None,
    )
    (tmp_path / "config").touch()
    assert add.prepare(program, "mine").config == tmp_path / "config"
    _modules(tmp_path / "modules", "6.1.6")
    with pytest.raises(
        UsageError, match=r"several trees of modules: 6\.1\.5, 6\.1\.6; give one: --modules DIR"
    ):
        add.prepare(program)
    assert add.prepare(program, modules=tmp_path / "modules" / "6.1.6").modules.name == "6.1.6"
    with pytest.raises(UsageError, match="no directory"):
        add.prepare(program, modules=tmp_path / "nowhere")


def test_a_directory_must_say_which_kernel(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"holds no kernel; it must be called linux\.uml, linux, vmlinuz or bzImage"
    ):
        add.prepare(tmp_path)
    with pytest.raises(UsageError, match="not there"):
        add.prepare(tmp_path / "nothing")
    _uml(tmp_path / "linux")
    (tmp_path / "bzImage").write_bytes(stock_image("6.1.5"))
    with pytest.raises(UsageError, match="several kernels: linux, bzImage"):
        add.prepare(tmp_path)


def test_an_image_must_fit_its_modules(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(stock_image("6.1.5"))
    _modules(tmp_path / "modules", "6.1.6")
    with pytest.raises(UsageError, match=r"says that it is 6\.1\.5, but its modules are for 6\.1\.6"):
        add.prepare(image)
    _modules(tmp_path / "modules", "6.1.5")
    assert add.prepare(image).modules.name == "6.1.5", "of several trees the one that fits is meant"


@pytest.mark.skipif(not INSTALLED, reason="user-mode-linux is not installed")
def test_the_installed_kernel_is_recognised_and_other_programs_are_not() -> None:
    assert INSTALLED
    assert kinds.recognise(Path(INSTALLED)) is UmlKernel
    with pytest.raises(UsageError, match="not User-Mode Linux"):
        kinds.recognise(Path(sys.executable).resolve())


def test_an_added_kernel_is_copied_and_can_be_removed(tmp_path: Path, trial: dict[str, Any]) -> None:
    _uml(tmp_path / "linux")
    modules = _modules(tmp_path / "modules", "6.1.192")
    (modules / "build").symlink_to("/")
    entry = add.add(add.prepare(tmp_path, "mine"))
    assert catalog.find("local/mine").modules.release == "6.1.192"
    assert os.access(entry.directory / "linux.uml", os.X_OK)
    assert not (entry.directory / "modules" / "6.1.192" / "build").exists()
    assert (modules / "build").is_symlink()
    store.remove(entry, cache_directory(), lambda event: None)
    assert catalog.entries() == [] and not entry.directory.exists()
    assert not list(cache_directory().glob("work-*"))
    with pytest.raises(
        CannotError, match=r"'local/mine': not here; run: lvslab kernels build TREE --name mine"
    ):
        catalog.find("local/mine")


def test_an_added_kernel_that_lies_about_its_release_is_refused(
    tmp_path: Path, trial: dict[str, Any]
) -> None:
    _uml(tmp_path / "linux")
    _modules(tmp_path / "modules", "6.1.193")
    with pytest.raises(GuestError, match=r"says that it is 6\.1\.192, but its modules are for 6\.1\.193"):
        add.add(add.prepare(tmp_path))
    assert catalog.entries() == [] and _nothing_left("refused.console")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
    ],
)
def test_a_disk_that_becomes_full_is_told(
    tmp_path: Path, trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    _uml(tmp_path / "linux")
    _modules(tmp_path / "modules", "6.1.192")
    addition = add.prepare(tmp_path)
    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(CannotError, match="the disk is full; free some space, or set XDG_CACHE_HOME"):
        add.add(addition)
    assert catalog.entries() == [] and _nothing_left()


def test_the_tools_of_a_build_stand_among_the_packages() -> None:
    known = {package.program: package.name for package in packages()}
    assert {program: known.get(program) for program in build.TOOLS if program not in ("tar", "depmod")} == {
        program: package for program, package in build.TOOLS.items() if program not in ("tar", "depmod")
    }
