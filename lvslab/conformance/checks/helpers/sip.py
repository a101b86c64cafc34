"""The Call-ID that the SIP engine finds, in every place and form that RFC 3261 allows.

Sources: ip_vs_pe_sip.c of Linux 6.1 (get_callid, "ipvs: correct initial offset of Call-ID header
search in SIP persistence engine", 3.8) and ct_sip_get_header of nf_conntrack_sip.c.
"""

from __future__ import annotations

from lvslab.conformance.check import check
from lvslab.conformance.entries import chosen, entries, must_choose, sip_service, udp
from lvslab.conformance.packets import must
from lvslab.conformance.testbed import Bench
from lvslab.conformance.variants import VERSIONS

_LINE = "INVITE sip:a@example.org SIP/2.0"
_VIA, _FROM = "Via: SIP/2.0/UDP host.example.org", "From: <sip:b@example.org>;tag=1"
_FORMS = {
    "first": [_LINE, "Call-ID: {}", _VIA, _FROM],
    "last": [_LINE, _VIA, _FROM, "CSeq: 1 INVITE", "Max-Forwards: 70", "Call-ID: {}"],
    "compact": [_LINE, _VIA, "i: {}", _FROM],
    "other-case": [_LINE, _VIA, "cALL-iD: {}", _FROM],
    "spaces": [_LINE, _VIA, "Call-ID :   {}", _FROM],
    "no-space": [_LINE, _VIA, "Call-ID:{}", _FROM],
    "reply": ["SIP/2.0 200 OK", _VIA, "Call-ID: {}", _FROM],
    "behind-a-look-alike": [_LINE, "X-Call-ID: nobody@nowhere", _VIA, "Call-ID: {}"],
}


@check(
    "persistence:sip:{form}:ipv{version}",
    "the SIP engine finds the Call-ID of a message ({form}): two calls of a client have real servers of"
    " their own and"
    " keep them, and the templates name the calls whole",
    tags=("udp", "sip", "ipv{version}"),
    each=[{"form": form, "version": version} for form in _FORMS for version in VERSIONS],
)
def forms(bench: Bench, form: str, version: int) -> None:
    port, client = bench.port(), bench.client(version)
    sip_service(bench, port, version=version, weights=(1, 1))
    # They are as long and begin alike, so a part of them would not do.
    calls = ["a84b4c76e66710@one.lvslab.example.org", "a84b4c76e66710@two.lvslab.example.org"]
    texts = ["\r\n".join([*_FORMS[form], "", ""]).format(call) for call in calls]
    order = [0, 1, 0, 1, 1, 0]
    packets = [
        udp(client, port, sport=5060 + number, data=texts[call].encode()) for number, call in enumerate(order)
    ]
    places = chosen(bench, *packets)
    must(places[0] != places[1], "both calls went to one server, though round robin gives each its own")
    must_choose(places, [places[call] for call in order], "the messages of two calls")
    found = {template.pe_data for template in entries(bench, port=port, templates=True)}
    must(found == set(calls), "the templates do not name the calls", f"seen: {sorted(found)}")


_MANY = 300
"""Of two different Call-IDs one in 4096 is in the same bucket (CONFIG_IP_VS_TAB_BITS is 12): of so
many calls some are, but for once in 50,000 times.
"""


@check(
    "persistence:sip:many-calls",
    f"{_MANY} calls of one client, whose Call-IDs are of one length, are as many calls, also those that fall"
    " into one bucket of the table: round robin goes on with each",
    tags=("udp", "sip"),
)
def many_calls(bench: Bench) -> None:
    port, client = bench.port(), bench.client()
    sip_service(bench, port)
    text = "\r\n".join([*_FORMS["first"], "", ""])
    messages = [text.format(f"{number:08}@lvslab.example.org").encode() for number in range(_MANY)]
    packets = [udp(client, port, sport=5060 + number, data=data) for number, data in enumerate(messages)]
    places = chosen(bench, *packets)
    must(len(set(places[:3])) == 3, "round robin did not give each of the first calls a server of its own")
    must_choose(places, [*places[:3]] * (_MANY // 3), f"the first messages of {_MANY} calls")
