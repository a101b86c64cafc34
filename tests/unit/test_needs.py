"""What a kernel can do, from trials."""

from __future__ import annotations

from lvslab.host.completed import Completed
from lvslab.kernels.needs import Need
from lvslab.kernels.probe import try_needs

LEGACY = "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist"
NFT = "iptables v1.8.9 (nf_tables): TABLE_ADD failed (Operation not supported): table nat"


def test_the_variant_of_iptables_that_works_is_taken() -> None:
    def run(script: str) -> Completed:
        return Completed(1, "", LEGACY) if "IPTABLES=iptables-legacy" in script else Completed(0, "", "")

    met, unmet, iptables = try_needs([Need.IPIP, Need.IPVS_SNAT, Need.SYNPROXY], run)
    assert (met, unmet, iptables) == ({Need.IPIP, Need.IPVS_SNAT, Need.SYNPROXY}, {}, "iptables-nft")


def test_where_no_variant_works_each_one_s_reason_is_told() -> None:
    def run(script: str) -> Completed:
        return Completed(1, "", NFT if "IPTABLES=iptables-nft" in script else LEGACY)

    met, unmet, iptables = try_needs([Need.IPVS_SNAT], run)
    assert (met, unmet, iptables) == (frozenset(), {Need.IPVS_SNAT: f"{LEGACY}; {NFT}"}, None)


def test_a_reason_that_two_variants_share_is_told_once() -> None:
    _, unmet, _ = try_needs([Need.SYNPROXY], lambda _: Completed(127, "", "sh: not found"))
    assert unmet == {Need.SYNPROXY: "sh: not found"}
