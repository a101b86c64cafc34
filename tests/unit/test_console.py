"""A guest's death, and what its kernel complains of, have names: the same for the same thing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvslab.kernels.console import find_complaints, find_panic, last_line, last_words
from lvslab.lab import consoles

EARLY = """\
<6>devtmpfs: initialized
<0>Kernel panic - not syncing: Segfault with no mm
<4>CPU: 0 PID: 1 Comm: swapper Not tainted 6.1.176 #1
<4>Stack:
<4> 00000000 00000000 00000000 00000000
<4>Call Trace:
<4> [<60007639>] ? make_umid+0x0/0x589
<4> [<60007676>] make_umid+0x3d/0x589
<4> [<60083dda>] ? vprintk_emit+0x1a0/0x1b5
<4> [<60694548>] uml_postsetup+0x92/0x94
"""

STOCK = """\
[    3.512345] Kernel panic - not syncing: Fatal exception in interrupt
[    3.512346] Call Trace:
[    3.512347]  <IRQ>
[    3.512348]  dump_stack_lvl+0x44/0x5c
[    3.512349]  panic+0x118/0x2ed
[    3.512350]  ip_vs_in_hook+0x21/0x40 [ip_vs]
"""


def test_the_trace_gives_the_functions_that_the_kernel_is_sure_of() -> None:
    panic = find_panic(EARLY)
    assert panic is not None
    assert panic.reason == "Segfault with no mm"
    assert panic.functions == ("make_umid", "uml_postsetup")
    assert panic.text.startswith("Kernel panic") and panic.text.endswith("uml_postsetup+0x92/0x94")
    assert str(panic) == f"panic {panic.fingerprint}: Segfault with no mm in make_umid < uml_postsetup"


def test_a_stock_kernels_trace_names_what_led_to_the_panic() -> None:
    panic = find_panic(STOCK)
    assert panic is not None
    assert str(panic).endswith("Fatal exception in interrupt in ip_vs_in_hook")


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("60007676", "6000aaaa", True),
        ("PID: 1", "PID: 77", True),
        ("00000000 00000000", "12345678 9abcdef0", True),
        ("] make_umid", "] make_other", False),
        ("Segfault with no mm", "Out of memory", False),
    ],
)
def test_equal_deaths_have_equal_names(before: str, after: str, same: bool) -> None:
    assert before in EARLY
    one, other = find_panic(EARLY), find_panic(EARLY.replace(before, after))
    assert one is not None and other is not None
    assert (one.fingerprint == other.fingerprint) is same


def test_a_console_without_a_panic_has_a_last_line() -> None:
    assert find_panic("Linux version 6.1\n\n") is None
    assert last_line("Linux version 6.1\n  \n") == "Linux version 6.1"
    assert last_line(" \n") is None


WARNING = """\
<4>------------[ cut here ]------------
<4>WARNING: CPU: 0 PID: 77 at net/netfilter/ipvs/ip_vs_ctl.c:613 ip_vs_dest_free+0x1c/0x40 [ip_vs]
<4>Modules linked in: ip_vs_rr ip_vs
<4>CPU: 0 PID: 77 Comm: ipvsadm Not tainted 6.1.176 #1
<4>Call Trace:
<4> [<600a1b2c>] ? __warn+0x101/0x120
<4> [<600a1b00>] __warn+0x80/0x120
<4> [<64001c1c>] ip_vs_dest_free+0x1c/0x40 [ip_vs]
<4> [<64002d2d>] ip_vs_del_dest+0x8d/0xa0 [ip_vs]
<4>---[ end trace 0000000000000000 ]---
<4>IPVS: a line that comes later
"""

KASAN = """\
==================================================================
BUG: KASAN: slab-use-after-free in ip_vs_conn_put+0x51/0x90
Read of size 4 at addr 0000000061a0b0c0 by task swapper/0
Call Trace:
 [<6000aaaa>] print_report+0x11/0x500
 [<6000bbbb>] ip_vs_conn_put+0x51/0x90
 [<6000cccc>] ip_vs_conn_expire+0x210/0x3a0
==================================================================
"""

OTHERS = """\
WARNING: possible circular locking dependency detected
UBSAN: array-index-out-of-bounds in net/netfilter/ipvs/ip_vs_mh.c:99:12
BUG: sleeping function called from invalid context at include/linux/sched/mm.h:274
kmemleak: 12 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
unregister_netdevice: waiting for lo to become free. Usage count = 2
"""

HARMLESS = """\
watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [ipvsadm:77]
rcu: INFO: rcu_sched self-detected stall on CPU
IPVS: rr: TCP 10.0.0.1:80 - no destination available
SELinux: checkreqprot is non-zero.  This is deprecated and will be rejected
lvs: WARNING of a program's own
"""


def test_complaints_are_found_with_their_functions_and_end_where_they_end() -> None:
    one, other = find_complaints(WARNING + KASAN)
    assert (one.what, other.what) == ("warning", "KASAN")
    assert one.cause == ("ip_vs_dest_free", "ip_vs_del_dest"), one.functions
    assert "end trace" not in one.text and "comes later" not in one.text
    assert str(other) == (
        f"KASAN {other.fingerprint}: BUG: KASAN: slab-use-after-free in ip_vs_conn_put+0x51/0x90"
        " in ip_vs_conn_put < ip_vs_conn_expire"
    )


def test_every_kind_of_complaint_is_known_and_what_a_busy_machine_causes_is_none() -> None:
    assert [each.what for each in find_complaints(OTHERS)] == ["lockdep", "UBSAN", "oops", "leak", "leak"]
    assert find_complaints(HARMLESS + EARLY) == [], "a panic has its own reader"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("ip_vs_ctl.c:613", "ip_vs_ctl.c:620", True),
        ("PID: 77", "PID: 1234", True),
        ("0x1c/0x40", "0x2c/0x50", True),
        ("64002d2d", "64009999", True),
        ("ip_vs_del_dest+", "ip_vs_edit_dest+", False),
        ("ip_vs_ctl.c", "ip_vs_conn.c", False),
    ],
)
def test_equal_complaints_have_equal_names(before: str, after: str, same: bool) -> None:
    assert before in WARNING
    (one,), (other,) = find_complaints(WARNING), find_complaints(WARNING.replace(before, after))
    assert (one.fingerprint == other.fingerprint) is same


def test_complaints_are_findings_of_a_run_counted_and_with_their_files(tmp_path: Path) -> None:
    for name, said in (("lvs1", WARNING * 2), ("lvs2", WARNING + KASAN), ("rs1", HARMLESS)):
        (place := tmp_path / "logs" / "nat").mkdir(parents=True, exist_ok=True)
        (place / f"{name}.console").write_text(said)
    one, other = consoles.complaints(tmp_path / "logs", tmp_path)
    assert {one.verdict, other.verdict} == {"fail"} and one.name.startswith("kernel:warning:")
    assert one.reason.startswith("the kernel of lvs1, lvs2 complained, 3 times: warning ")
    assert one.evidence == ("logs/nat/lvs1.console", "logs/nat/lvs2.console")
    assert other.evidence == ("logs/nat/lvs2.console",) and "times" not in other.reason


def test_why_process_1_has_ended_it_has_said_itself(tmp_path: Path) -> None:
    log = tmp_path / "console"
    panic = "[   12.340000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200\n"
    cause = "start_userspace : clone failed, errno = 11"
    log.write_text(f"[    0.100000] up\n\none\n[   12.3] {cause}\n/mnt/agent.sh: 29: Cannot fork\n{panic}")
    before = f"one / {cause} / /mnt/agent.sh: 29: Cannot fork"
    assert f"exitcode=0x00000200; before that: {before} (" in last_words(log)
    log.write_text(panic)
    assert "exitcode=0x00000200; before that: nothing (" in last_words(log)
