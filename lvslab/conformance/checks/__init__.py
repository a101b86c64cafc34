"""The checks, one module a subject. A check is a function marked with
`lvslab.conformance.check.check`.
"""

MODULES = (
    "configuration.commands",
    "configuration.saved",
    "configuration.walks",
    "configuration.namespaces",
    "counters.traffic",
    "counters.connections",
    "counters.rates",
    "forwarding.packets",
    "forwarding.headers",
    "forwarding.checksums",
    "forwarding.fragments",
    "forwarding.extensions",
    "forwarding.strangers",
    "forwarding.unserved",
    "forwarding.local_client",
    "fullnat",
    "fwmark",
    "hashing",
    "helpers.ftp",
    "helpers.match",
    "icmp.from_server",
    "icmp.from_client",
    "icmp.from_director",
    "mixed",
    "ops",
    "persistence",
    "helpers.sip",
    "schedulers.distribution",
    "schedulers.changes",
    "schedulers.load",
    "schedulers.limits",
    "states.tcp",
    "states.lifetimes",
    "states.entries",
    "states.sctp",
    "states.bundled",
    "sync.master",
    "sync.templates",
    "sync.datagrams",
    "sync.backup",
    "sync.bound",
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

TIMERS = (
    "timers.states",
    "timers.settings",
    "timers.templates",
    "timers.synced",
    "timers.removed",
    "timers.periods",
)
"""Modules of the profile "timers", which runs in virtual time: every jiffy can be waited for, and
no check builds on another.
"""
