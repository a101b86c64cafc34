"""The checks, one module a subject. A check is a function marked with
`lvslab.conformance.check.check`.
"""

MODULES = (
    "configuration",
    "counters",
    "forwarding",
    "fullnat",
    "fwmark",
    "hashing",
    "icmp",
    "ops",
    "persistence",
    "schedulers",
    "states",
    "sync",
    "sync_backup",
    "synproxy",
    "sysctls",
    "thresholds",
    "tunnels",
)
"""Every module with checks, in the order in which they are listed and carried out: some checks of a
subject build on the ones before.
"""
