"""A dump as directors of a lab, and kernel parameters as files say them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lvslab.doctor.dump import Given, of_texts
from lvslab.errors import UsageError
from lvslab.host.scripts import guest_file
from lvslab.kernels.needs import any_kernel
from lvslab.rehearse.files import Plan
from lvslab.rehearse.replay import beside, directors_of
from lvslab.rehearse.staging import prepared
from lvslab.rehearse.sysctls import file_of, sentence
from lvslab.runs.rehearsal import Answers
from tests.unit.commands import lvslab

TABLE = "-A -t 10.9.0.10:80 -s rr\n-a -t 10.9.0.10:80 -r 10.9.7.11:8080 -m -w 1\n"
LINKS = """\
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default qlen 1000
    link/ether 52:54:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 10.9.0.2/24 brd 10.9.0.255 scope global eth0
       valid_lft forever preferred_lft forever
{vip}3: eth1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc fq state UP group default qlen 1000
    link/ether 52:54:00:00:00:02 brd ff:ff:ff:ff:ff:ff
    inet 10.9.7.1/24 brd 10.9.7.255 scope global eth1
"""
VIP = "    inet 10.9.0.10/32 scope global eth0\n"
SYSCTLS = "kernel.osrelease = 6.1.0\nnet.ipv4.ip_forward = 0\n"


def _lines(*texts: str) -> str:
    """The commands that set up the lab's director."""
    evidence = of_texts([Given(f"file{number}", text, "LB-1") for number, text in enumerate(texts)])
    (director,) = directors_of(evidence)
    stage = prepared([director], Plan()).stage(any_kernel())
    node = stage.lab.node(director.name)
    return "\n".join(action.plain() for step in node.network_steps for action in step.actions)


def test_a_dump_is_a_director_as_it_was_found() -> None:
    evidence = of_texts([Given("a", text, "LB-1") for text in (TABLE, LINKS.format(vip=VIP), SYSCTLS)])
    (director,) = directors_of(evidence)
    assert director.name == "lb1" and director.files == {"rules": TABLE}
    assert director.own == {"eth0": ("10.9.0.2/24", "10.9.0.10/32"), "eth1": ("10.9.7.1/24",)}
    assert director.macs["eth1"] == "52:54:00:00:00:02"
    assert director.sysctls == {"net.ipv4.ip_forward": "0"}


def test_a_virtual_address_that_is_nowhere_stays_nowhere() -> None:
    assert "address add 10.9.0.10/32" in _lines(TABLE, LINKS.format(vip=VIP))
    assert "address add 10.9.0.10/32" not in _lines(TABLE, LINKS.format(vip=""))
    assert "address add 10.9.0.10/32" in _lines(TABLE), "nobody said what addresses there are"


def test_a_dump_without_a_table_is_refused() -> None:
    with pytest.raises(UsageError, match="shows no table to build a lab of"):
        directors_of(of_texts([Given("a", SYSCTLS, "lb1")]))


def test_faults_stand_beside_what_the_lab_shows() -> None:
    read = [{"name": "ip-forward-off"}, {"name": "wrong-gateway"}]
    answers = Answers(findings=({"name": "ip-forward-off", "reason": "x"}, {"name": "new", "reason": "y"}))
    assert list(beside(read, answers)) == [
        "ip-forward-off: the lab has it, too",
        "wrong-gateway: the lab does not show it",
        "new: in the lab only: y",
    ]


def test_a_file_that_is_no_dump_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "some").write_text("hello\n")
    (tmp_path / "sysctl").write_text(SYSCTLS)
    for name, says in (("some", "nothing of it was recognised"), ("sysctl", "shows no table")):
        done = lvslab("doctor", "--replay", name, "--runs", "runs", place=tmp_path)
        assert done.code == 2 and says in done.err, done.err
        assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("key", "file"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0.rp_filter", "net/ipv4/conf/eth0/rp_filter"),
        ("net.ipv4.conf.eth0.7.rp_filter", "net/ipv4/conf/eth0.7/rp_filter"),
        ("net.ipv6.neigh.eth0.7.retrans_time", "net/ipv6/neigh/eth0.7/retrans_time"),
        ("net.ipv4.conf.*.rp_filter", "net/ipv4/conf/*/rp_filter"),
    ],
)
def test_a_parameter_has_a_file(key: str, file: str) -> None:
    assert file_of(key) == f"/proc/sys/{file}"


def test_parameters_are_set_and_those_that_cannot_be_are_named(tmp_path: Path) -> None:
    for name in ("all", "eth0"):
        (tmp_path / name).write_text("0\n")
    (tmp_path / "mem").write_text("1\t2\t3\n")
    (tmp_path / "mem").chmod(0o444)
    lines = f"{tmp_path}/[ae]* 1\n{tmp_path}/mem 1 2 3\n{tmp_path}/no/such 7\n"
    done = subprocess.run(
        ["bash", "-c", guest_file("lvslab.rehearse", "sysctls.bash")],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [(tmp_path / name).read_text() for name in ("all", "eth0")] == ["1\n", "1\n"]
    assert (tmp_path / "mem").read_text() == "1\t2\t3\n", "what has its value already is not written"
    assert done.stdout.split() == [f"{tmp_path}/no/such"] and not done.stderr
    assert sentence(["a", "b", "c", "d", "e"]).endswith(", 5: a, b, c, d, …")
    assert sentence([]) == ""
