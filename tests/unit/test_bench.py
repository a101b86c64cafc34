"""Bench without a kernel: which measurements there are, what is sent, what a kernel's words mean,
and when there is a figure.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from lvslab.bench import judge, kernel, layout, machine, setup, transcript
from lvslab.bench.measurements import ESTABLISHED, MATRIX, NEW, Handling, Measurement, select
from lvslab.bench.sysctls import require_known
from lvslab.bench.transcript import Ipvs, Record, Sent
from lvslab.errors import CannotError, GuestError, UsageError
from lvslab.kernels.initramfs import ModuleTree
from lvslab.kernels.qemu import QemuKernel
from tests.unit.kernel_images import bz_image

BY_NAME = {each.name: each for each in MATRIX}


# -- the matrix ------------------------------------------------------------------------------------


def test_the_matrix_has_what_is_promised() -> None:
    figures = {figure for each in select(full=True) for figure in each.figures}
    assert len(figures) == sum(len(each.figures) for each in MATRIX)  # no name twice
    for traffic in ("udp4", "tcp4", "udp6", "tcp6"):
        assert {
            f"mode:{mode}:{traffic}:{phase}" for mode in ("nat", "dr", "tun") for phase in (NEW, ESTABLISHED)
        } <= figures
    assert {f"servers:wlc:{n}:new" for n in (1, 10, 100, 1000)} <= figures
    assert {f"connections:{10**n}:established" for n in range(6)} <= figures
    assert {"mode:fullnat:udp4:new", "conntrack:nat:udp4:established", "scheduler:mh:new"} <= figures


def test_the_default_set_is_a_part_of_everything() -> None:
    assert set(select()) < set(select(full=True))


def test_baselines_come_with_what_needs_them_and_before_it() -> None:
    names = [each.name for each in select(["mode:tun:tcp6:new"])]
    assert names == ["baseline:drop:tcp6", "baseline:routing:tcp6", "mode:tun:tcp6"]


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="fits no measurement"):
        select(["mode:nat:*", "mode:wrong"])
    with pytest.raises(UsageError, match="handshake"):
        select(["mode:synproxy"])


# -- what is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("measurement", MATRIX, ids=lambda each: each.name)
def test_the_generators_counters_make_just_the_flows_that_are_meant(measurement: Measurement) -> None:
    for sent in setup.passes(measurement):
        made = layout.flows(sent.flows, measurement.traffic.version)
        # packet n has source n mod sources and port n mod ports: all pairs come up only without a
        # common divisor
        assert math.gcd(made.sources, made.ports) == 1 and made.sources * made.ports == sent.flows


def test_flows_that_the_generator_cannot_make_are_refused() -> None:
    with pytest.raises(ValueError, match="not possible"):
        layout.flows(100_000, 6)
    with pytest.raises(ValueError, match="not possible"):
        layout.flows(2**12, 4)


@pytest.mark.parametrize("measurement", MATRIX, ids=lambda each: each.name)
def test_every_phase_is_measured_several_times_and_only_on_connections_that_it_says(
    measurement: Measurement,
) -> None:
    known: dict[int, int] = {}
    for sent in setup.passes(measurement):
        if sent.phase == NEW:
            assert sent.group not in known and sent.packets == sent.flows
        elif sent.phase == ESTABLISHED and not measurement.handling.is_baseline:
            assert known[sent.group] == sent.flows
        known[sent.group] = sent.flows
    for phase in measurement.phases:
        assert sum(sent.phase == phase for sent in setup.passes(measurement)) == 5


def test_tcp_connections_are_opened_by_syn_and_established_by_ack() -> None:
    phases = [(sent.phase, sent.flags) for sent in setup.passes(BY_NAME["mode:nat:tcp4"])]
    assert list(dict.fromkeys(phases)) == [("new", 0x02), ("ack", 0x10), ("established", 0x10)]
    assert setup.steps(setup.passes(BY_NAME["mode:nat:tcp4"])).count("door 16") == 1


def test_what_arrives_is_matched_by_every_header_field_that_the_mode_demands() -> None:
    def keys(name: str) -> str:
        return setup.files(BY_NAME[name], {})["server.tc"]

    vip, port80, port8080 = "0x0a00000a 0xffffffff", "u16 80 0xffff at 22", "u16 8080 0xffff at 22"
    assert "0x0a010000 0xffff0000 at 16" in keys("mode:nat:udp4") and port8080 in keys("mode:nat:udp4")
    assert f"{vip} at 16" in keys("mode:dr:udp4") and port80 in keys("mode:dr:udp4")
    assert (
        "u8 4 0xff at 9" in keys("mode:tun:tcp4")
        and f"{vip} at 36" in keys("mode:tun:tcp4")
        and "u8 6 0xff at 29" in keys("mode:tun:tcp4")
    )
    assert "u8 41 0xff at 6" in keys("mode:tun:udp6") and "0x00000010 0xffffffff at 76" in keys(
        "mode:tun:udp6"
    )
    assert "0x0a010000 0xfffffff8 at 12" in keys("mode:fullnat:udp4")
    assert all("u16 0x0201 0xffff at -14" in setup.files(each, {})["server.tc"] for each in MATRIX)


def test_the_users_sysctls_are_set_last() -> None:
    text = setup.files(
        BY_NAME["conntrack:nat:udp4"], {"net.ipv4.vs.conntrack": "0", "net.ipv4.conf.all.rp_filter": "1"}
    )["director.sysctl"]
    assert text.splitlines() == [
        "net.ipv4.ip_forward=1",
        "net.ipv4.vs.conntrack=0",
        "net.ipv4.conf.all.rp_filter=1",
    ]


# -- what the kernel says --------------------------------------------------------------------------


def said(measurement: Measurement, number: int = 0, nanoseconds: int = 9000) -> list[str]:
    """The lines of a measurement in which everything went well, as the guest writes them."""
    sent = setup.passes(measurement)
    lines, packets, groups = [f"begin {number}"], 0, {}
    for step in setup.steps(sent):
        word, _, what = step.partition(" ")
        if word == "send":
            made = next(each for each in sent if each.name == what)
            packets, groups[made.group] = packets + made.packets, made.flows
            took = made.packets * nanoseconds // 1000
            lines.append(f"pktgen {number} {what} sofar {made.packets}  errors: 0")
            lines.append(
                f"pktgen {number} {what} result OK: {took}(c{took}+d0) usec, {made.packets} (64byte,0frags)\r"
            )
        elif word == "look":
            table = [
                {"kind": "u32"},
                {
                    "options": {
                        "actions": [
                            {"kind": "pedit", "stats": {"packets": 1}},
                            {"stats": {"packets": packets}},
                        ]
                    }
                },
            ]
            lines.append(
                f"{'dropped' if measurement.handling is Handling.DROP else 'arrived'} {number} {what}"
                f" {json.dumps(table)}"
            )
            if measurement.handling is Handling.DROP:
                lines.append(
                    f'arrived {number} {what} [{{"options": {{"actions": [{{"stats": {{"packets": 0}}}}]}}}}]'
                )
            elif not measurement.handling.is_baseline:
                total, tcp, syn = sum(groups.values()), measurement.traffic.protocol == "tcp", what == "new"
                each = total // measurement.servers
                lines.append(
                    f"ipvs {number} {what} 0 {total:X} {packets:X} 0 0 0 {measurement.servers}"
                    f" {total if tcp else 0} {0 if tcp else total} {each}"
                    f" {each + (total % measurement.servers > 0)} {total if tcp and syn else 0}"
                    f" {total if tcp and not syn else 0}"
                )
    return [*lines, f"done {number}"]


def record(name: str) -> Record:
    return transcript.read(["boot 6.1.0 1.58", *said(BY_NAME[name]), "end"]).measurements[0]


@pytest.mark.parametrize("measurement", MATRIX, ids=lambda each: each.name)
def test_a_measurement_in_which_all_went_well_has_figures(measurement: Measurement) -> None:
    found = record(measurement.name)
    assert judge.problem(measurement, found) == ""
    assert [judge.cost(measurement, found, phase) for phase in measurement.phases] == [9000.0] * len(
        measurement.phases
    )


def test_one_odd_pass_does_not_change_the_figure() -> None:
    measurement, found = BY_NAME["mode:nat:udp4"], record("mode:nat:udp4")
    found.sent["established.3"] = dataclasses.replace(found.sent["established.3"], microseconds=99_999)
    assert judge.cost(measurement, found, ESTABLISHED) == 9000.0


def _ipvs(**changed: int) -> Callable[[Record], None]:
    def change(found: Record) -> None:
        found.ipvs["established"] = dataclasses.replace(found.ipvs["established"], **changed)

    return change


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (
            lambda found: found.arrived.update(established=19_999),
            "19999 of 20000 packets arrived as nat demands",
        ),
        (lambda found: found.arrived.pop("new"), "no count of 5000 packets arrived"),
        (
            lambda found: found.sent.update({"new.2": Sent(999, 1, 9000)}),
            "new.2: 999 of 1000 packets sent, 1 errors",
        ),
        (lambda found: found.sent.pop("established.4"), "established.4: the packet generator gave no result"),
        (lambda found: found.ipvs.pop("ack"), "counters could not be read"),
        (_ipvs(connections=5001), "connections 5001, not 5000"),
        (_ipvs(packets=1), "packets 1, not 20000"),
        (_ipvs(servers=9), "real servers 9, not 10"),
        (_ipvs(most=501), "unevenly served"),
        (
            _ipvs(established=4999, syn_recv=1),
            "in SYN_RECV 1, not 0; connections in ESTABLISHED 4999, not 5000",
        ),
        (lambda found: setattr(found, "done", False), "did not come to its end"),
        (
            lambda found: setattr(found, "failure", "'tc -batch' ended with 1"),
            "'tc -batch' ended with 1: no output",
        ),
    ],
)
def test_whatever_went_wrong_there_is_no_figure(break_it: Callable[[Record], None], reason: str) -> None:
    found = record("mode:nat:tcp4")
    break_it(found)
    problem = judge.problem(BY_NAME["mode:nat:tcp4"], found)
    assert problem and reason in problem


def test_packets_that_pass_the_drop_are_noticed() -> None:
    found = record("baseline:drop:udp4")
    found.arrived["established"] = 1
    assert "1 packets arrived, 0 should" in judge.problem(BY_NAME["baseline:drop:udp4"], found)


def test_a_failed_command_is_kept_with_what_it_said() -> None:
    lines = [
        "boot 6.1.0 1.5",
        "begin 0",
        "failed 0 2 /usr/sbin/tc -n d -batch door.0\r",
        "said 0 Error: unknown action",
        "said 0 line 3",
        "end",
    ]
    found = transcript.read(lines)
    assert found.ended and found.release == "6.1.0"
    assert (
        found.measurements[0].problem
        == "'/usr/sbin/tc -n d -batch door.0' ended with 2: Error: unknown action line 3"
    )
    assert (
        transcript.read(["failed - 1 modprobe -a x", "end"]).problem
        == "'modprobe -a x' ended with 1: no output"
    )


def test_ipvs_counters_are_read_as_the_guest_prints_them() -> None:
    found = transcript.read(
        ["begin 3", "ipvs 3 new 0 1388 2710 0 3D090 0 10 5000 0 500 500 5000 0"]
    ).measurements[3]
    assert found.ipvs["new"] == Ipvs(5000, 10_000, 10, 5000, 0, 500, 500, 5000, 0)


# -- kernels ---------------------------------------------------------------------------------------


def _kernel_directory(where: Path, release: str = "7.2.0") -> Path:
    (where / "modules" / release).mkdir(parents=True)
    (where / "modules" / release / "modules.dep").write_text("kernel/net/ip_vs.ko:\n")
    (where / "vmlinuz").write_bytes(b"image")
    return where


def test_a_kernel_is_found_by_release_or_by_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    boot, modules = tmp_path / "boot", tmp_path / "modules"
    boot.mkdir()
    for release in ("6.1.0", "6.12.0", "6.9.0"):
        (boot / f"vmlinuz-{release}").write_bytes(b"")
        (modules / release).mkdir(parents=True)
        (modules / release / "modules.dep").touch()
    (modules / "6.12.0" / "modules.dep").unlink()  # its modules are gone: it cannot be measured
    assert kernel.find(None, boot, modules).release == "6.9.0"
    assert kernel.find("6.1.0", boot, modules).stock.image == boot / "vmlinuz-6.1.0"
    assert kernel.find(str(_kernel_directory(tmp_path / "mine")), boot, modules).release == "7.2.0"
    with pytest.raises(UsageError, match=r"installed: 6\.1\.0, 6\.9\.0"):
        kernel.find("6.12.0", boot, modules)
    with pytest.raises(UsageError, match="needs the image vmlinuz and one tree modules/RELEASE"):
        kernel.find(str(boot), boot, modules)
    with pytest.raises(CannotError, match="lvslab kernels fetch debian/bookworm:cloud"):
        kernel.find(None, tmp_path / "nothing", modules)


def test_a_boot_knows_nothing_of_the_machine(tmp_path: Path) -> None:
    stock = kernel.BenchKernel("k", QemuKernel(tmp_path / "vmlinuz", ModuleTree(tmp_path)))
    run = machine.command(stock, tmp_path / "a", 7, tmp_path / "c", tmp_path / "r")
    assert run[run.index("-icount") + 1] == "shift=0,sleep=off" and run[run.index("-seed") + 1] == "7"
    assert run[run.index("-rtc") + 1].startswith("clock=vm,base=") and "nokaslr" in run[-1]


@pytest.mark.parametrize("program", ["/bin/false", "/bin/sh"])
def test_a_kernel_that_dies_or_hangs_is_an_error_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """In the place of QEMU stands a shell that says something and then works without a word, or a
    program that ends at once.
    """
    stock = kernel.BenchKernel("k", QemuKernel(tmp_path / "vmlinuz", ModuleTree(tmp_path)))
    silent = [program, "-c", f"echo 'the end is near' > {tmp_path}/console.log; while :; do :; done"]
    (tmp_path / "vmlinuz").touch()
    monkeypatch.setattr(machine, "command", lambda *arguments: silent)
    monkeypatch.setattr(machine, "SILENT_CPU_SECONDS", 0.1)
    with (tmp_path / "a").open("wb") as archive, machine.Boot(stock, archive.fileno(), 1, tmp_path) as boot:
        if program == "/bin/sh":
            with pytest.raises(GuestError, match=r"silent for .* it said last: the end is near"):
                while True:
                    boot.listen()
        else:
            while boot.running:
                boot.listen()
            assert boot.code == 1
    assert not boot.running


def test_a_sysctl_that_a_kernel_cannot_have_is_refused_before_it_boots(tmp_path: Path) -> None:
    tree = tmp_path / "6.1.0"
    tree.mkdir()
    (tree / "modules.dep").write_text("ip_vs.ko:\nother.ko:\n")
    (tree / "ip_vs.ko").write_bytes(b"\0conntrack\0")
    (tree / "other.ko").write_bytes(b"\0elsewhere\0")
    image = tmp_path / "vmlinuz"
    image.write_bytes(bz_image(gzip.compress(b"\0rp_filter\0")))
    stock = kernel.BenchKernel("k", QemuKernel(image, ModuleTree(tree)))
    require_known(stock, ["ip_vs"], ["net.ipv4.vs.conntrack", "net.ipv4.conf.all.rp_filter"])
    for name in ("net.ipv4.vs.nosuch", "net.elsewhere"):
        with pytest.raises(UsageError, match=f"--set {name}: kernel 'k' has no such sysctl"):
            require_known(stock, ["ip_vs"], ["net.ipv4.vs.conntrack", name])
    image.write_bytes(b"an image that nothing here unpacks")
    require_known(stock, ["ip_vs"], ["net.ipv4.vs.nosuch"])
