"""Building kernels without compiling any: what is refused, and that nothing half is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lvslab.catalog import build, catalog, configure, tree
from lvslab.catalog.names import LocalName
from lvslab.catalog.pace import Pace, duration
from lvslab.catalog.virtual_time import entry_in_virtual_time, kernel_in_virtual_time
from lvslab.errors import CannotError, GuestError, LabError, UsageError
from lvslab.events import Event
from lvslab.host.programs import packages
from lvslab.kernels import kinds
from lvslab.kernels.cache import cache_directory
from lvslab.kernels.virtual_time import VirtualTimeKernel
from tests.unit.catalogs import MAKEFILE, make_tree, nothing_left

needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not there")


# -- what is looked at before a build --------------------------------------------------------------


def test_missing_tools_are_named_with_the_command(tmp_path: Path) -> None:
    for program in build.TOOLS.keys() - {"flex", "depmod"}:
        (tmp_path / program).touch(mode=0o755)
    with pytest.raises(CannotError, match=r"flex, depmod.* not found; run: apt-get install .* flex kmod"):
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


def _request(where: Path, rules: str = RULES, **options: Any) -> build.BuildRequest:
    source = make_tree(where / "linux", rules) if not (where / "linux").exists() else where / "linux"
    (source / "Makefile").write_text(MAKEFILE + rules)
    return build.BuildRequest(
        tree.recognise(source), options.pop("fragment", {}), where / "my.config", **options
    )


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
def test_a_built_kernel_is_suggested_where_its_name_stands_alone(
    tmp_path: Path, trial: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=r"^kernel '6\.1\.192': unknown; write "):
        catalog.find_entry("6.1.192")
    build.build(_request(tmp_path))
    with pytest.raises(UsageError, match=r"^kernel '6\.1\.192': unknown; did you mean local/6\.1\.192\?$"):
        catalog.find_entry("6.1.192")


@needs_make
def test_a_kernel_in_virtual_time_has_all_built_in_and_brings_its_seed(
    tmp_path: Path, trial: dict[str, Any]
) -> None:
    trial["facts"]["kind"] = VirtualTimeKernel.kind
    entry = build.build(_request(tmp_path, virtual_time=True))
    assert entry.name == "local/6.1.192-vt"
    config = configure.parse((entry.directory / "config").read_text(), "config")
    assert "m" not in config.values()
    assert {config[option] for option in ("VIRTIO_UML", "VIRTIO_NET", "IP_VS", "IP_VS_MH")} == {"y"}
    assert {config[option] for option in ("UML_RANDOM", "UML_NET_VECTOR", "HW_RANDOM")} == {"n"}
    kernel = VirtualTimeKernel.at(entry.directory)
    drawn = [_drawn(kernel.libraries[0], seed) for seed in ("1", "1", "2")]
    assert drawn[0] == drawn[1] != drawn[2]


def _drawn(library: Path, seed: str) -> bytes:
    """Numbers of getrandom(2) in a program that has the library before all others."""
    program = (
        "import ctypes, os\n"
        "numbers = ctypes.create_string_buffer(23)\n"
        "assert ctypes.CDLL(None).getrandom(numbers, 23, 0) == 23\n"
        "os.write(1, numbers.raw)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program],
        env={"LD_PRELOAD": str(library), "LVSLAB_SEED": seed, "PYTHONHASHSEED": "0"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert len(done.stdout) == 23
    return done.stdout


@needs_make
def test_what_virtual_time_needs_is_refused_where_the_tree_lacks_it(
    tmp_path: Path, trial: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match=r"a guest of lvslab in virtual time needs: CONFIG_VIRTIO_UML=y"):
        build.build(_request(tmp_path, RULES.replace("LACKING", "VIRTIO_UML"), virtual_time=True))


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
    assert catalog.entries() == [] and nothing_left("build.log")


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
    assert catalog.entries() == [] and nothing_left("refused.console", "refused")
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
        deadline = time.monotonic() + 60
        while not _gone(compiler):  # it was killed, and ends when it has a processor
            assert time.monotonic() < deadline
            time.sleep(0.01)
    build.build(_request(tmp_path))
    assert len(catalog.entries()) == 1 and not list(cache_directory().glob("work-*"))


def test_a_full_disk_is_told_before_a_build(
    tmp_path: Path, trial: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "NEEDED_MIB", 1 << 40)
    with pytest.raises(CannotError, match="MiB free, this takes up to"):
        build.build(_request(tmp_path))
    assert nothing_left()


def test_the_tools_of_a_build_stand_among_the_packages() -> None:
    known = {package.program: package.name for package in packages()}
    assert {program: known.get(program) for program in build.TOOLS if program not in ("tar", "depmod")} == {
        program: package for program, package in build.TOOLS.items() if program not in ("tar", "depmod")
    }


# -- which one takes part in virtual time ----------------------------------------------------------


@needs_make
def test_a_kernel_without_virtual_time_is_refused_at_once(tmp_path: Path, trial: dict[str, Any]) -> None:
    with pytest.raises(CannotError, match="no kernel for it is here; run: lvslab kernels build"):
        entry_in_virtual_time()
    build.build(_request(tmp_path, name=LocalName("plain")))
    trial["facts"]["kind"] = VirtualTimeKernel.kind
    build.build(_request(tmp_path, virtual_time=True))
    assert (
        entry_in_virtual_time().name == entry_in_virtual_time("local/6.1.192-vt").name == "local/6.1.192-vt"
    )
    for name in ("local/plain", "uml", "host"):
        with pytest.raises(
            UsageError, match=rf"kernel '{name}': has no virtual time \(here: local/6.1.192-vt"
        ):
            entry_in_virtual_time(name)
    kernel = kernel_in_virtual_time()
    assert kernel.cannot_direct() == "it runs in virtual time only"
    with pytest.raises(CannotError, match="virtual time only"):
        kernel.boot("d1", (), tmp_path, tmp_path / "console")
