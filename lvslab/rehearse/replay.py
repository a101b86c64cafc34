"""What the doctor read of directors, as directors of a rehearsal: the same tables, addresses,
kernel parameters and rules in a lab, where packets show what of it is so. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lvslab.doctor.evidence import Evidence, Machine, Part
from lvslab.errors import UsageError
from lvslab.ipvs.rules import format_rules
from lvslab.reading.configured import ConfiguredServer, Pool
from lvslab.rehearse.director import Director, Manager
from lvslab.rehearse.files import check_names, short_name
from lvslab.rehearse.links import macs_of, own_addresses
from lvslab.rehearse.marks import as_iptables
from lvslab.runs.rehearsal import Answers


def directors_of(evidence: Evidence) -> list[Director]:
    """The machines that show a table, as they were found: nobody manages their tables.

    Raises:
        UsageError: no machine shows one.
    """
    directors = [
        _director(machine) for machine in evidence.machines if machine.ipvs and machine.ipvs.services
    ]
    if not directors:
        names = ", ".join(machine.name for machine in evidence.machines)
        raise UsageError(
            f"{names}: shows no table to build a lab of; give what `ipvsadm -Sn` prints, or try its"
            " configuration: lvslab rehearse FILE"
        )
    check_names([director.name for director in directors])
    return directors


def _director(machine: Machine) -> Director:
    assert machine.ipvs is not None
    services = machine.ipvs.services
    own = own_addresses(machine.links)
    return Director(
        short_name(machine.name),
        Manager.RULES,
        {"rules": format_rules(services)},
        "rules",
        tuple(
            Pool(service.name, (service,), tuple(ConfiguredServer(server) for server in service.real_servers))
            for service in services
        ),
        interfaces=tuple(own),
        own=own,
        macs=macs_of(machine.links),
        sysctls={key: value for key, value in machine.sysctls.items() if key.startswith("net.")},
        iptables=as_iptables(machine.rules),
        is_whole=Part.LINKS not in machine.lacks,
    )


def beside(findings: Sequence[dict[str, object]], answers: Answers) -> Iterator[str]:
    """Each fault that was read beside what the lab shows of it, a sentence each, and what the lab
    shows besides.
    """
    here = {str(finding["name"]): finding for finding in answers.findings}
    names = dict.fromkeys(str(finding["name"]) for finding in findings)
    for name in names:
        yield f"{name}: {'the lab has it, too' if name in here else 'the lab does not show it'}"
    for name, finding in here.items():
        if name not in names:
            yield f"{name}: in the lab only: {finding['reason']}"
