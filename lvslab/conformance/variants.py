"""What checks are repeated for: forwarding modes, IP versions and protocols, each combination as
`check` takes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Variants = Sequence[Mapping[str, str | int]]

MODES = ("nat", "dr", "tun")
VERSIONS = (4, 6)
PROTOCOLS = ("tcp", "udp", "sctp")

EACH_MODE: Variants = [{"mode": mode} for mode in MODES]
EACH_VERSION: Variants = [{"version": version} for version in VERSIONS]
MODES_VERSIONS: Variants = [{"mode": mode, "version": version} for mode in MODES for version in VERSIONS]
DIRECT_VERSIONS: Variants = [each for each in MODES_VERSIONS if each["mode"] != "nat"]
"""The modes in which a reply does not pass the director."""

VERSIONS_PROTOCOLS: Variants = [
    {**each, "protocol": protocol} for each in EACH_VERSION for protocol in PROTOCOLS
]
MODES_VERSIONS_PROTOCOLS: Variants = [
    {**each, "protocol": protocol} for each in MODES_VERSIONS for protocol in PROTOCOLS
]
