"""Ten situations from public reports, as somebody would paste them: the doctor says of each what is
right, says nothing where it is mended, and names what it was not given.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvslab.doctor.diagnose import report
from lvslab.doctor.dump import Given, of_texts
from lvslab.doctor.evidence import Evidence, Part
from lvslab.modes.base import Role
from tests.unit.doctor_dumps import CASES, DUMPS, REVERSE, SHOP, changed, text


def said(evidence: Evidence) -> list[str]:
    """Each finding with its certainty, the faults in the order of their names."""
    return sorted(f"{each['name']} {each['certainty']}" for each in report(evidence)["findings"])


@pytest.mark.parametrize(("file", "faults"), CASES.values(), ids=CASES)
def test_a_case_gets_its_answer(file: str, faults: list[str]) -> None:
    evidence = of_texts([Given(file, text(file))])
    assert said(evidence) == faults
    assert not [line for each in evidence.machines for line in each.unread]


def test_03_a_changed_weight_and_a_quorum_out_of_reach() -> None:
    evidence = of_texts([Given(file, text(file)) for file in SHOP])
    assert said(evidence) == ["quorum-above-weights certain", "weight-not-as-in-file certain"]
    (machine,) = evidence.machines
    assert (machine.name, machine.role) == ("03-shop", Role.DIRECTOR)
    weights = next(each for each in report(evidence)["findings"] if each["name"] == "weight-not-as-in-file")
    assert "03-shop# ipvsadm -e -t 192.0.2.80:80 -r 198.51.100.31:80 -i -w 8" in weights["fix"]
    assert not any("192.0.2.81" in line for line in weights["fix"])


@pytest.mark.parametrize(("file", "changes", "faults"), REVERSE.values(), ids=REVERSE)
def test_the_reverse_of_a_case(file: str, changes: list[tuple[str, str]], faults: list[str]) -> None:
    assert said(changed(file, *changes)) == faults


def test_notes_say_why_entries_are_missing_at_a_backup() -> None:
    told = "\n".join(report(of_texts([Given("", text("04-mail-pair.txt"))]))["notes"])
    assert "SYN_RECV at mx-lb1) is not there: TCP is told from ESTABLISHED on, SYN_RECV never" in told
    assert "told with its packet number 3, again 50 packets later, and never while it is idle" in told
    assert "41002" not in told


def test_notes_say_what_settings_do() -> None:
    told = "\n".join(report(of_texts([Given("14-ldirectord.cf", text("14-ldirectord.cf"))]))["notes"])
    assert "ldirectord.cf:9: 192.0.2.33:mysql: the fallback 198.51.100.42:3306 is reached by direct" in told
    assert "ldirectord.cf:3: 192.0.2.80:www: persistent=1 is one second" in told
    assert "TCP 192.0.2.21:21: FTP by masquerading works with the module ip_vs_ftp alone" in told
    assert "127.0.0.1:80 is reached" not in told


@pytest.mark.parametrize(("value", "times"), [(0, 1), (1, 0)])
def test_a_note_says_that_counters_stand_still(value: int, times: int) -> None:
    more = f"nodest_conn = 0\nnet.ipv4.vs.run_estimation = {value}"
    told = report(changed("06-syslog.txt", ("nodest_conn = 0", more)))["notes"]
    assert sum("--rate show stands still" in line for line in told) == times


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("4.18.0-553.el8_10.x86_64", "with their next packet, which is dropped; the one after it"),
        ("5.14.0-427.el9.x86_64", "within a second of the deletion (at once since 5.9)"),
        ("unknown", "since 5.9 they go within a second"),
    ],
)
def test_notes_know_the_release(release: str, words: str) -> None:
    dump = changed(
        "06-syslog.txt", ("4.18.0-553.el8_10.x86_64", release), ("nodest_conn = 0", "nodest_conn = 1")
    )
    assert any(words in line for line in report(dump)["notes"])


def test_what_was_not_given_is_named() -> None:
    evidence = of_texts([Given("a.txt", "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m\n")])
    assert said(evidence) == []
    told = report(evidence)["missing"]
    assert [line.partition("`")[2].partition("`")[0] for line in told][:-1] == [
        Part.CONNECTIONS,
        Part.SYSCTLS,
        Part.RELEASE,
        Part.LINKS,
        Part.RULES,
    ]
    assert told[-1].startswith("1 real server (10.0.0.2) not read: it stays open, of each, its way back")


def test_a_parameter_that_was_left_out_is_named() -> None:
    told = report(changed("07-drained-pod.txt", ("net.ipv4.vs.conn_reuse_mode = 0\n", "")))["missing"]
    assert any(line.startswith("07-drained-pod: no `sysctl net.ipv4.vs.conn_reuse_mode`") for line in told)


# -- whose text it is ------------------------------------------------------------------------------


def names(*texts: Given) -> list[tuple[str, Role]]:
    return [(each.name, each.role) for each in of_texts(texts).machines]


TABLE = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.2:80 -m\n"
LINK = "2: eth0: <UP,LOWER_UP> mtu 1500\n    inet {}/24 scope global eth0\n"


def test_files_of_one_machine_are_put_together() -> None:
    assert names(Given("lb.ipvsadm", TABLE), Given("lb.sysctl", "net.ipv4.ip_forward = 1\n")) == [
        ("lb", Role.DIRECTOR)
    ]


def test_files_that_show_the_same_are_several_machines() -> None:
    assert names(
        Given("d/lb.1.txt", TABLE), Given("d/lb.2.txt", TABLE), Given("web.txt", LINK.format("10.0.0.2"))
    ) == [("lb.1", Role.DIRECTOR), ("lb.2", Role.DIRECTOR), ("web", Role.REAL_SERVER)]


def test_a_name_that_was_given_counts() -> None:
    assert names(
        Given("x", TABLE, "lb"), Given("y", LINK.format("10.0.0.2"), "web"), Given("z", "5.14.0\n", "lb")
    ) == [("lb", Role.DIRECTOR), ("web", Role.REAL_SERVER)]


def test_machines_of_one_text_keep_their_names() -> None:
    both = f"root@lb:~# ipvsadm -Sn\n{TABLE}root@web:~# ip a\n{LINK.format('10.0.0.2')}"
    assert names(Given("x", both, "mine")) == [("lb", Role.DIRECTOR), ("web", Role.REAL_SERVER)]
    assert names(Given("x", f"root@lb:~# ipvsadm -Sn\n{TABLE}", "mine")) == [("mine", Role.DIRECTOR)]


def test_a_recording_of_a_healthy_lab_is_read() -> None:
    recording = (DUMPS.parent / "doctor" / "tun.json").read_text()
    evidence = of_texts([Given("tun.json", recording)])
    assert said(evidence) == []
    assert {each.role for each in evidence.machines} >= {Role.DIRECTOR, Role.REAL_SERVER}


_ROUTES = "default via 10.0.0.254 dev eth0\n10.0.0.0/24 dev eth0\n"


def test_the_way_back_is_worked_out_from_routes() -> None:
    """A real server whose default route leads past the director, as text alone."""
    texts = (
        Given("lb", f"{TABLE}net.ipv4.ip_forward = 1\n{LINK.format('10.0.0.1')}", "lb"),
        Given("c", "TCP 01:00 SYN_RECV 192.0.2.9:5000 10.0.0.1:80 10.0.0.2:80\n", "lb"),
        Given(
            "web", f"{LINK.format('10.0.0.2')}default via 10.0.0.254 dev eth0\n10.0.0.0/24 dev eth0\n", "web"
        ),
    )
    assert said(of_texts(texts)) == ["wrong-gateway likely"]
    ruled = Given("r", "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n", "lb")
    assert said(of_texts([*texts, ruled])) == ["wrong-gateway certain"]
    translated = Given("r", "*nat\n-A POSTROUTING -d 10.0.0.2 -j MASQUERADE\nCOMMIT\n", "lb")
    assert said(of_texts([*texts, translated])) == []
    *others, web = texts
    right = Given("web", web.text.replace("10.0.0.254", "10.0.0.1"), "web")
    assert said(of_texts([*others, right])) == []


SIX = """\
root@lb:~# ipvsadm -Sn
-A -t [2001:db8:a::1]:80 -s rr
-a -t [2001:db8:a::1]:80 -r [2001:db8:b::2]:80 -m
root@lb:~# ipvsadm -Lnc
TCP 01:00 SYN_RECV [2001:db8:c::9]:5000 [2001:db8:a::1]:80 [2001:db8:b::2]:80
root@lb:~# ip a
2: eth0: <UP,LOWER_UP> mtu 1500
    inet6 2001:db8:a::1/64 scope global
3: eth1: <UP,LOWER_UP> mtu 1500
    inet6 2001:db8:b::1/64 scope global
root@lb:~# sysctl net.ipv6.conf.all.forwarding
net.ipv6.conf.all.forwarding = 1
root@web:~# ip a
2: eth0: <UP,LOWER_UP> mtu 1500
    inet6 2001:db8:b::2/64 scope global
    inet6 fe80::2/64 scope link
root@web:~# ip -6 r
2001:db8:b::/64 dev eth0 proto kernel metric 256 pref medium
default via 2001:db8:b::1 dev eth0 metric 1024 pref medium
"""


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ("", "", ""),
        ("via 2001:db8:b::1 ", "via 2001:db8:b::ff ", "web# ip -6 route replace default via 2001:db8:b::1"),
        ("via 2001:db8:b::1 ", "via fe80::1 ", "web# ip -6 route replace default via 2001:db8:b::1"),
        ("forwarding = 1", "forwarding = 0", "lb# sysctl -w net.ipv6.conf.all.forwarding=1"),
    ],
)
def test_the_way_back_of_ipv6(old: str, new: str, fix: str) -> None:
    told = report(of_texts([Given("", SIX.replace(old, new) if old else SIX)]))["findings"]
    assert [each["fix"][0] for each in told] == ([fix] if fix else [])


def test_a_fix_does_not_make_clients_wait() -> None:
    """Before 5.9 conn_reuse_mode=1 costs tracked connections a second each."""
    old = changed("07-drained-pod.txt", ("5.14.0-427.el9", "4.18.0-553.el8"))
    (told,) = report(old)["findings"]
    assert "07-drained-pod# ipvsadm -d -t 192.0.2.1:443 -r 198.51.100.15:8443" in told["fix"]
    assert not any("sysctl -w net.ipv4.vs.conn_reuse_mode" in line for line in told["fix"])


# -- any text --------------------------------------------------------------------------------------

LINES = [line for file in sorted(DUMPS.iterdir()) for line in file.read_text().splitlines()]


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.text(max_size=30))
def test_no_text_is_an_error(chance: random.Random, noise: str) -> None:
    """Lines of all dumps, in any order and with words taken from elsewhere."""
    words = [word for line in LINES for word in line.split()]
    lines = []
    for line in chance.sample(LINES, chance.randint(1, 60)):
        parts = line.split(" ")
        if chance.random() < 0.3:
            parts[chance.randrange(len(parts))] = chance.choice(words)
        lines.append(" ".join(parts))
    report(of_texts([Given("a", "\n".join(lines)), Given("b", noise), Given("c", "\n".join(lines[::-1]))]))
