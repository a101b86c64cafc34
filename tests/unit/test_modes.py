"""The forwarding modes and the facts that the rest of lvslab takes from them."""

from __future__ import annotations

from lvslab.modes import ALL_MODES, IPVS_MODES, MODES, modes_that


def test_the_five_modes_and_what_ipvs_does_in_each() -> None:
    assert {name: (mode.packet_forwarding.value, mode.title) for name, mode in MODES.items()} == {
        "nat": ("Masq", "NAT"),
        "dr": ("Route", "DR"),
        "tun": ("Tunnel", "TUN"),
        "fullnat": ("Masq", "FullNAT"),
        "synproxy": ("Masq", "SYNPROXY"),
    }


def test_what_the_modes_differ_in() -> None:
    assert ALL_MODES == ("nat", "dr", "tun", "fullnat", "synproxy")
    assert IPVS_MODES == ("nat", "dr", "tun")
    assert modes_that(lambda mode: mode.replies_bypass_director) == ("dr", "tun")
    assert modes_that(lambda mode: mode.uses_local_addresses) == ("fullnat",)
    assert modes_that(lambda mode: not mode.survives_sync) == ("synproxy",)
    assert modes_that(lambda mode: not mode.carries_udp) == ("synproxy",)
    assert {name: mode.vip_device for name, mode in MODES.items() if mode.vip_device} == {
        "dr": "lo",
        "tun": "tunl0",
    }


def test_no_two_modes_share_a_colour_or_a_name() -> None:
    for fact in ("title", "color", "summary", "topology"):
        assert len({getattr(mode, fact) for mode in MODES.values()}) == len(MODES)


def test_real_servers_have_the_virtual_address_exactly_where_they_answer_the_clients() -> None:
    for mode in MODES.values():
        assert (mode.vip_device is not None) == mode.replies_bypass_director
