"""The SYN proxy that netfilter puts in front of IPVS: two rules that need each other
(iptables-extensions(8), SYNPROXY).
"""

from __future__ import annotations

from collections.abc import Iterator

from lvslab.doctor.evidence import Evidence, Machine
from lvslab.doctor.finding import Finding
from lvslab.doctor.netfilter import Rule, port_matches, rules
from lvslab.ipvs.service import Protocol, VirtualService


def half_a_proxy(evidence: Evidence) -> Iterator[Finding]:
    """SYNs must be untracked for the SYNPROXY rule to take them, and untracked ones need a SYNPROXY
    rule to get anywhere.
    """
    for director in evidence.directors:
        for service in director.ipvs.services if director.ipvs else ():
            if service.protocol is not Protocol.TCP:
                continue
            untracks, proxies = _untracks(director, service), _proxies(director, service)
            if (untracks is None) == (proxies is None):
                continue
            where = f"-d {service.address} -p tcp --dport {service.port}"
            if proxies:
                sentence = (
                    f"The SYN proxy of {service.name} never acts: it takes untracked SYNs, and no rule leaves"
                    " them untracked."
                )
                fix = f"iptables -t raw -A PREROUTING {where} --syn -j CT --notrack"
            else:
                sentence = (
                    f"SYNs to {service.name} are not tracked, as a SYN proxy needs it, but there is no"
                    " SYNPROXY rule."
                )
                fix = (
                    f"iptables -I INPUT {where} -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm"
                    " --timestamp --wscale 7 --mss 1460"
                )
            present = proxies or untracks
            assert present is not None
            yield Finding(
                "syn-proxy-half",
                sentence,
                (f"{director.name}: {present.text}",),
                (f"{director.name}# {fix}",),
            )


def set_up(service: VirtualService) -> tuple[str, ...]:
    """The commands that put a SYN proxy in front of a service (iptables-extensions(8), SYNPROXY):
    its SYNs are not tracked, the proxy shakes hands, and what it has not seen is dropped.
    """
    where = f"-d {service.address} -p tcp"
    return (
        "sysctl -w net.ipv4.vs.conntrack=1 net.ipv4.tcp_syncookies=1 net.ipv4.tcp_timestamps=1",
        f"iptables -t raw -A PREROUTING {where} --dport {service.port} --syn -j CT --notrack",
        "sysctl -w net.netfilter.nf_conntrack_tcp_loose=0",
        f"iptables -A INPUT {where} --dport {service.port} -m state --state INVALID,UNTRACKED -j SYNPROXY"
        " --sack-perm --timestamp --wscale 7 --mss 1460",
        f"iptables -A INPUT {where} -m state --state INVALID -j DROP",
    )


def _untracks(director: Machine, service: VirtualService) -> Rule | None:
    """The rule that leaves the service's SYNs untracked."""
    for rule in rules(director, "raw", "PREROUTING"):
        untracks = rule.target == "NOTRACK" or (rule.target == "CT" and "--notrack" in rule.options)
        if (
            untracks
            and rule.about("-d", service.address)
            and port_matches(rule, service.port)
            and rule.protocol in ("tcp", "")
        ):
            return rule
    return None


def _proxies(director: Machine, service: VirtualService) -> Rule | None:
    for table in ("filter", "mangle"):
        for rule in rules(director, table):
            if (
                rule.target == "SYNPROXY"
                and rule.about("-d", service.address)
                and port_matches(rule, service.port)
            ):
                return rule
    return None
