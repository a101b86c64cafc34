"""A guest's death has a name, the same for the same death."""

from __future__ import annotations

import pytest

from lvslab.kernels.console import find_panic, last_line

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
