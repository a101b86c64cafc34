"""The checks, one module a subject. A check is a function marked with
`lvslab.conformance.check.check`.
"""

MODULES = (
    "configuration.commands",
    "configuration.saved",
    "configuration.walks",
    "counters.traffic",
    "counters.connections",
    "counters.rates",
    "forwarding.packets",
    "forwarding.headers",
    "forwarding.checksums",
    "forwarding.fragments",
    "forwarding.unserved",
    "fullnat",
    "fwmark",
    "hashing",
    "icmp.from_server",
    "icmp.from_client",
    "icmp.from_director",
    "ops",
    "persistence",
    "schedulers.distribution",
    "schedulers.changes",
    "schedulers.load",
    "states.tcp",
    "states.lifetimes",
    "states.entries",
    "states.sctp",
    "sync.master",
    "sync.templates",
    "sync.datagrams",
    "sync.backup",
    "synproxy.handshake",
    "synproxy.refusals",
    "sysctls.connections",
    "sysctls.admission",
    "sysctls.routes",
    "thresholds",
    "tunnels.encapsulation",
    "tunnels.mtu",
    "tunnels.errors",
)
"""Every module with checks, in the order in which they are listed and carried out: some checks of a
subject build on the ones before.
"""
