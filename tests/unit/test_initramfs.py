"""The initramfs of a guest: archives that cpio reads, and just the modules that are needed."""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvslab.errors import CannotError
from lvslab.kernels import initramfs
from lvslab.kernels.initramfs import (
    Entry,
    ModuleTree,
    cpio,
    fitting,
    missing_modules,
    module_entries,
    module_name,
)

CPIO = next(([*name.split()] for name in ("cpio", "busybox cpio") if shutil.which(name.split()[0])), None)
needs_zstd = pytest.mark.skipif(not shutil.which("zstd"), reason="zstd is not installed")
needs_cpio = pytest.mark.skipif(CPIO is None, reason="neither cpio nor busybox is installed")

DEP = """\
kernel/net/netfilter/ipvs/ip_vs.ko: kernel/net/netfilter/nf_conntrack.ko kernel/lib/libcrc32c.ko
kernel/net/netfilter/ipvs/ip-vs-rr.ko: kernel/net/netfilter/ipvs/ip_vs.ko kernel/net/netfilter/nf_conntrack.ko kernel/lib/libcrc32c.ko
kernel/net/netfilter/nf_conntrack.ko: kernel/lib/libcrc32c.ko
kernel/lib/libcrc32c.ko:
kernel/net/ipv4/ipip.ko.xz:
"""  # noqa: E501


def packed(name: str, code: bytes) -> bytes:
    """A module's file as its name says: depmod's tables do not care, but what the kernel gets must
    be plain.
    """
    ways: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.compress, ".gz": gzip.compress}
    return ways.get(Path(name).suffix, bytes)(code)


@pytest.fixture
def tree(tmp_path: Path) -> ModuleTree:
    directory = tmp_path / "modules" / "6.1.0-test"
    for line in DEP.splitlines():
        path = directory / line.partition(":")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed(path.name, b"code of " + path.name.encode()))
    (directory / "modules.dep").write_text(DEP)
    (directory / "modules.builtin").write_text("kernel/net/ipv4/tunnel4.ko\nkernel/drivers/net/veth.ko\n")
    return ModuleTree(directory)


def unpack(archive: bytes, into: Path, *options: str) -> str:
    assert CPIO is not None
    done = subprocess.run([*CPIO, *options], input=archive, cwd=into, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def modules_dep(entries: list[Entry]) -> list[str]:
    return next(entry for entry in entries if entry.name.endswith("modules.dep")).data.decode().splitlines()


# -- archives --------------------------------------------------------------------------------------


@needs_cpio
def test_an_archive_is_unpacked_by_cpio_with_content_and_rights(tmp_path: Path) -> None:
    entries = [
        Entry("bin", stat.S_IFDIR | 0o755),
        Entry("bin/tool", stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
        Entry("empty", stat.S_IFREG | 0o640),
        Entry("odd name.txt", stat.S_IFREG | 0o644, b"\0\1\2"),
    ]
    unpack(cpio(entries), tmp_path, "-i")
    assert (tmp_path / "bin/tool").read_bytes() == b"#!/bin/sh\n" and (
        tmp_path / "bin/tool"
    ).stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").read_bytes() == b"" and (tmp_path / "empty").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "odd name.txt").read_bytes() == b"\0\1\2"


@needs_cpio
@settings(max_examples=20, deadline=None)
@given(
    members=st.dictionaries(st.text("abcdefghij", min_size=1, max_size=9), st.binary(max_size=40), max_size=6)
)
def test_names_and_contents_of_every_length_keep_their_place(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes]
) -> None:
    directory = tmp_path_factory.mktemp("cpio")
    unpack(cpio([Entry(name, stat.S_IFREG | 0o644, data) for name, data in members.items()]), directory, "-i")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == members


def test_a_device_node_carries_its_numbers() -> None:
    archive = cpio([Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))])
    fields = [int(archive[6 + 8 * number : 14 + 8 * number], 16) for number in range(13)]
    assert archive[:6] == b"070701" and fields[1] == 0o20600 and fields[9:11] == [5, 1]


# -- modules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kernel/net/ip-vs.ko.xz", "ip_vs"),
        ("ip_vs.ko", "ip_vs"),
        ("a/b/xt_CT.ko.zst", "xt_CT"),
        ("nf-nat", "nf_nat"),
    ],
)
def test_a_module_is_named_as_the_kernel_writes_it(path: str, name: str) -> None:
    assert module_name(path) == name


def test_a_module_brings_all_that_it_depends_on_each_once(tree: ModuleTree) -> None:
    entries = module_entries(tree, ["ip_vs_rr", "ip_vs"])
    names = [entry.name for entry in entries]
    base = "lib/modules/6.1.0-test"
    assert sorted(names) == [
        f"{base}/{each}"
        for each in ("ip-vs-rr.ko", "ip_vs.ko", "libcrc32c.ko", "modules.dep", "nf_conntrack.ko")
    ]
    assert next(entry for entry in entries if entry.name.endswith("ip_vs.ko")).data == b"code of ip_vs.ko"


def test_the_new_modules_dep_lists_dependencies_nearest_first_as_depmod_does(tree: ModuleTree) -> None:
    assert sorted(modules_dep(module_entries(tree, ["ip_vs_rr"]))) == [
        "ip-vs-rr.ko: ip_vs.ko nf_conntrack.ko libcrc32c.ko",
        "ip_vs.ko: nf_conntrack.ko libcrc32c.ko",
        "libcrc32c.ko: ",
        "nf_conntrack.ko: libcrc32c.ko",
    ]


@given(
    names=st.lists(
        st.sampled_from(["ip_vs", "ip_vs_rr", "nf_conntrack", "libcrc32c", "ipip", "tunnel4"]), max_size=5
    )
)
def test_every_dependency_that_is_named_is_taken_along(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    tree = _small_tree(tmp_path_factory)
    entries = module_entries(tree, names)
    taken = {entry.name.rpartition("/")[2] for entry in entries}
    for line in modules_dep(entries):
        module, _, needed = line.partition(":")
        assert {module, *needed.split()} <= taken
    assert {module_name(each) for each in taken} >= {name for name in names if name != "tunnel4"}


_TREES: list[ModuleTree] = []


def _small_tree(factory: pytest.TempPathFactory) -> ModuleTree:
    if not _TREES:
        directory = factory.mktemp("modules") / "6.1.0-test"
        for line in DEP.splitlines():
            path = directory / line.partition(":")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed(path.name, b"code"))
        (directory / "modules.dep").write_text(DEP)
        _TREES.append(ModuleTree(directory))
    return _TREES[0]


def code_of(entries: list[Entry], name: str) -> bytes:
    return next(entry.data for entry in entries if entry.name.endswith(f"/{name}"))


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", pytest.param(".zst", marks=needs_zstd)])
def test_a_compressed_module_is_plain_in_the_archive(tree: ModuleTree, suffix: str) -> None:
    plain = tree.directory / "kernel/net/netfilter/nf_conntrack.ko"
    packed_one = plain.with_name(f"nf_conntrack.ko{suffix}")
    code = b"code of nf_conntrack"
    plain.unlink()
    if suffix == ".zst":
        subprocess.run(["zstd", "-q", "-o", packed_one], input=code, check=True)
    else:
        packed_one.write_bytes(packed(packed_one.name, code))
    (tree.directory / "modules.dep").write_text(DEP.replace("nf_conntrack.ko", packed_one.name))
    entries = module_entries(tree, ["ip_vs"])
    assert code_of(entries, "nf_conntrack.ko") == code
    assert "ip_vs.ko: nf_conntrack.ko libcrc32c.ko" in modules_dep(entries)


def test_a_damaged_module_is_refused_with_its_name(tree: ModuleTree) -> None:
    (tree.directory / "kernel/net/ipv4/ipip.ko.xz").write_bytes(b"not packed at all")
    with pytest.raises(CannotError, match=r"ipip\.ko\.xz: damaged: .*reinstall the package"):
        module_entries(tree, ["ipip"])


def test_a_signature_is_left_out_and_nothing_else(tree: ModuleTree) -> None:
    signature = b"pkcs7 message"
    tail = (
        bytes(8) + len(signature).to_bytes(4, "big") + b"~Module signature appended~\n"
    )  # include/linux/module_signature.h
    path = tree.directory / "kernel/lib/libcrc32c.ko"
    path.write_bytes(b"ELF code" + signature + tail)
    assert code_of(module_entries(tree, ["libcrc32c"]), "libcrc32c.ko") == b"ELF code"
    path.write_bytes(b"ELF code that speaks of ~Module signature appended~\n but goes on")
    assert code_of(module_entries(tree, ["libcrc32c"]), "libcrc32c.ko") == path.read_bytes()


def test_what_must_be_loaded_before_comes_along_also_for_those_that_need_it_by_another(
    tree: ModuleTree,
) -> None:
    arch, plain = "kernel/arch/x86/crypto/crc32c-intel.ko", "kernel/crypto/crc32c_generic.ko"
    for name in (arch, plain):
        (tree.directory / name).parent.mkdir(parents=True, exist_ok=True)
        (tree.directory / name).write_bytes(name.encode())
    (tree.directory / "modules.dep").write_text(f"{DEP}{arch}:\n{plain}:\n")
    (tree.directory / "modules.softdep").write_text(
        "softdep libcrc32c pre: crc32c\nsoftdep ip_vs post: late\n"
    )
    (tree.directory / "modules.alias").write_text("alias crc32c crc32c_intel\nalias crc32c crc32c_generic\n")
    assert sorted(modules_dep(module_entries(tree, ["ip_vs"]))) == [
        "crc32c_generic.ko: ",  # not the other, which only some processors can run
        "ip_vs.ko: nf_conntrack.ko libcrc32c.ko crc32c_generic.ko",
        "libcrc32c.ko: crc32c_generic.ko",
        "nf_conntrack.ko: libcrc32c.ko crc32c_generic.ko",
    ]


def test_modules_that_are_built_in_or_unknown_need_no_file(tree: ModuleTree) -> None:
    entries = module_entries(tree, ["veth", "no_such_module"])
    assert [entry.name for entry in entries] == ["lib/modules/6.1.0-test/modules.dep"] and entries[
        0
    ].data == b""


def test_missing_are_the_modules_that_are_neither_files_nor_built_in(tree: ModuleTree) -> None:
    assert missing_modules(tree, ["ip_vs", "ip_vs_rr", "ipip", "veth", "ip_vs_twos", "xt_ipvs"]) == [
        "ip_vs_twos",
        "xt_ipvs",
    ]


def test_a_kernel_without_iptables_legacy_tables_gets_what_iptables_nft_needs(tree: ModuleTree) -> None:
    wanted = ["ip_vs", "iptable_nat", "iptable_raw", "no_such_module"]
    assert fitting(tree, wanted) == ["ip_vs", "nft_compat", "nft_chain_nat", "no_such_module"]
    with (tree.directory / "modules.builtin").open("a") as builtin:
        builtin.write("kernel/net/ipv4/netfilter/iptable_nat.ko\n")
    assert fitting(tree, wanted) == ["ip_vs", "iptable_nat", "nft_compat", "no_such_module"]


def test_a_kernel_without_a_list_of_built_in_modules_has_none(tree: ModuleTree) -> None:
    (tree.directory / "modules.builtin").unlink()
    assert missing_modules(tree, ["veth", "ip_vs"]) == ["veth"]


def test_a_kernel_without_modules_dep_is_refused_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(
        CannotError,
        match=r"6\.1/modules\.dep: No such file or directory; reinstall the package of this kernel",
    ):
        ModuleTree(tmp_path / "6.1").read()


# -- the whole -------------------------------------------------------------------------------------


def unpacked(archive: bytes, where: Path) -> tuple[list[str], Path]:
    names = unpack(archive, where, "-it").splitlines()
    out = where / "out"
    out.mkdir()
    unpack(
        archive, out, "-i", "-d", *(name for name in names if name != "dev/console")
    )  # making a device node takes root
    return names, out


def rows(out: Path, table: str) -> list[str]:
    return (out / "etc" / table).read_text().splitlines()


@needs_cpio
def test_the_whole_initramfs_holds_busybox_init_mounts_and_modules(tree: ModuleTree, tmp_path: Path) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF static")
    names, out = unpacked(
        initramfs.build(tree, ["ip_vs"], initramfs.hostfs(tmp_path / "share"), busybox), tmp_path
    )
    assert {
        "init",
        "bin/busybox",
        "dev/console",
        "etc/fstab",
        "etc/fstab.root",
        "lib/modules/6.1.0-test/ip_vs.ko",
    } <= set(names)
    assert (out / "init").stat().st_mode & 0o111 and (out / "init").read_text().startswith(
        "#!/bin/busybox sh\n"
    )
    before, after = rows(out, "fstab"), rows(out, "fstab.root")
    assert "/ /host hostfs nosuid,ro 0 0" in before
    assert f"none /root{initramfs.SHARE} hostfs {tmp_path / 'share'} 0 0" in after
    assert all(len(line.split()) == 6 for line in (*before, *after))
    mounts = [line.split()[1].strip("/") for line in before]
    assert {"proc", "sys", "dev"} <= set(mounts) <= set(names)  # every mount point is there


@needs_cpio
def test_a_guest_that_needs_drivers_for_the_hosts_files_mounts_devices_first(
    tree: ModuleTree, tmp_path: Path
) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF static")
    host = initramfs.Host(("tag", "9p", "ro,nosuid"), ("other", "9p", "nosuid"), drivers=("ipip",))
    names, out = unpacked(initramfs.build(tree, ["ip_vs"], host, busybox), tmp_path)
    assert {"lib/modules/6.1.0-test/ipip.ko", "lib/modules/6.1.0-test/ip_vs.ko"} <= set(names)
    assert [line.split()[1] for line in rows(out, "fstab.devices")] == ["/proc", "/sys", "/dev"]
    assert [line.split()[1] for line in rows(out, "fstab")] == ["/host", "/rw"]  # not a second time
    assert "tag /host 9p ro,nosuid 0 0" in rows(out, "fstab")


@pytest.mark.parametrize("host", [initramfs.hostfs(Path("/share")), initramfs.p9()])
def test_no_guest_may_write_the_hosts_files_or_change_identity_by_them(host: initramfs.Host) -> None:
    assert {"ro", "nosuid"} <= set(host.root[2].split(","))


@pytest.mark.parametrize("script", ["init.sh", "agent.sh"])
def test_the_guests_scripts_are_understood_by_sh(script: str) -> None:
    checked = subprocess.run(
        ["/bin/sh", "-n"], input=initramfs.guest_script(script), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, b"")


def _which(monkeypatch: pytest.MonkeyPatch, found: Path | None) -> None:
    monkeypatch.setattr(
        "lvslab.kernels.initramfs.shutil.which", lambda name, path=None: str(found) if found else None
    )


def test_a_static_busybox_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(b"\x7fELF" + bytes(8000))
    _which(monkeypatch, program)
    assert initramfs.static_busybox() == program


def test_a_dynamic_busybox_is_refused_with_the_package_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(b"\x7fELF" + bytes(500) + b"/lib64/ld-linux-x86-64.so.2\0" + bytes(8000))
    _which(monkeypatch, program)
    with pytest.raises(CannotError, match=r"busybox: dynamically linked; .*busybox-static"):
        initramfs.static_busybox()


def test_a_missing_busybox_is_refused_with_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _which(monkeypatch, None)
    with pytest.raises(CannotError, match=r"busybox: not installed; .*busybox-static"):
        initramfs.static_busybox()
