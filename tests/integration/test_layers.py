"""The layers together: what importing them does to scapy."""

from __future__ import annotations

import subprocess
import sys

from scapy.layers.inet import IP, UDP

from lvslab.traffic.layers import Gue, SyncMessage, SyncMessageV0, bind_gue, bind_sync
from tests.unit.layer_bytes import GUE_PLAIN, RECORDED_V0


def test_other_ports_can_be_bound() -> None:
    data = bytes(UDP(sport=1, dport=16080, chksum=1) / GUE_PLAIN[28:])
    assert Gue not in UDP(data)
    bind_gue(16080)
    assert Gue in UDP(data)
    bind_sync(8849)  # sync_ports 2
    assert SyncMessageV0 in UDP(bytes(UDP(sport=1, dport=8849, chksum=1) / RECORDED_V0))
    # what is written still goes to the usual ports
    assert (IP() / UDP() / Gue())[UDP].dport == 6080
    assert (IP() / UDP() / SyncMessage())[UDP].dport == 8848


def test_the_package_loads_scapy_and_nothing_else_heavy() -> None:
    program = (
        "import sys, lvslab.traffic.layers; print(*sorted({name.split('.')[0] for name in sys.modules} &"
        " set(sys.argv[1:])))"
    )
    heavy = ["numpy", "matplotlib", "mininet", "rich", "click", "jinja2", "scapy"]
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["scapy"]
