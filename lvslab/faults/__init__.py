"""Faults: context managers that break something in a running lab, prove that it broke, and put it
back on leaving.

Every one tells an event of kind "fault" when it fires, with what proved it, and one of kind
"repair" when all is as before; both carry the moment just before the action. Each yields a `Fault`.
A fault that does not show, or cannot be put back, is a LabError; a node that does not exist, or one
that cannot have the fault, is a UsageError.
"""

from lvslab.faults.base import Fault
from lvslab.faults.directors import director_hung, director_panic, director_power_cut, handed_over
from lvslab.faults.links import impaired, link_down, partition, small_mtu
from lvslab.faults.servers import server_flapping, server_hung, server_killed, server_power_off, server_slow
from lvslab.faults.table import server_removed, table_flushed, weight_zero

__all__ = [
    "Fault",
    "director_hung",
    "director_panic",
    "director_power_cut",
    "handed_over",
    "impaired",
    "link_down",
    "partition",
    "server_flapping",
    "server_hung",
    "server_killed",
    "server_power_off",
    "server_removed",
    "server_slow",
    "small_mtu",
    "table_flushed",
    "weight_zero",
]
