"""What a rehearsal refuses before anything starts, and what it says of services without users."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lvslab.errors import UsageError
from lvslab.kernels.needs import any_kernel
from lvslab.rehearse.deaths import Wish
from lvslab.rehearse.files import read_paths
from lvslab.rehearse.staging import Prepared, prepared
from lvslab.report.rehearsal import summary
from lvslab.runs.rehearsal import Answers
from tests.unit.commands import lvslab

KEEPALIVED = """
virtual_server 10.9.0.10 80 {
    lvs_method NAT
    protocol TCP
    real_server 10.9.7.11 8080 {
        TCP_CHECK {
        }
    }
}
"""


def _prepared(folder: Path, text: str, plan: str = "") -> Prepared:
    (folder / "keepalived.conf").write_text(text)
    (folder / "plan.toml").write_text(plan)
    return prepared(*read_paths([folder / "keepalived.conf", folder / "plan.toml"]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[directors.lvs.addresses]\neth0 = ["10.0.0.300/24"]', "is no address with its length"),
        ('[directors.lvs.addresses]\neth0 = ["10.0.0.3"]', "is no address with its length"),
        ("[directors.lvs.addresses]\neth0 = [7]", "is no address with its length"),
        ('[directors.lvs.addresses]\neth0 = "10.0.0.3/24"', "give a list of addresses"),
        ("[directors.lvs]\naddresses = 1", "give a value for each interface"),
        ('[directors.lvs.macs]\neth0 = "01:00:00:00:00:01"', "is no MAC address of one card"),
        ("[directors.lvs]\nconfig_id = 7", "a director has addresses, macs, and config_id and kernel"),
        ('[services."TCP 10.9.0.10:80"]\nspeaks = "gopher"', "give speaks, one of http"),
        ("[directors.lvs]\nkernel = 6.1", "config_id and kernel, texts"),
        ("[directors", "plan.toml: "),
    ],
)
def test_a_plan_with_values_that_cannot_be_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        _prepared(tmp_path, KEEPALIVED, text)


def test_directors_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("balancer-one", "balancer-two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keepalived.conf").write_text(KEEPALIVED)
    with pytest.raises(UsageError, match="two directors are called 'balancer'"):
        read_paths([tmp_path])


def test_two_files_for_one_table_are_refused_and_others_are_said(tmp_path: Path) -> None:
    for name in ("old.conf", "new.conf"):
        (tmp_path / name).write_text(KEEPALIVED)
    rules = tmp_path / "rules"
    rules.write_text("-A -t 10.9.0.10:80 -s rr\n-A -q\n")
    with pytest.raises(UsageError, match=r"old\.conf, .*new\.conf: both describe the table"):
        read_paths([tmp_path / "old.conf", tmp_path / "new.conf"])
    ((director,), _) = read_paths([rules, tmp_path / "old.conf"])
    assert director.files.keys() == {"/etc/keepalived/keepalived.conf"}
    assert f"{rules}: is not used, as {tmp_path / 'old.conf'} makes the table" in director.notes
    ((alone,), _) = read_paths([rules])
    assert alone.notes == (f"{rules}:2: '-A -q': option -q is unknown in a rule; see ipvsadm(8)",)


def test_a_pipe_is_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no file"):
        read_paths([tmp_path / "pipe"])


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ("virtual_server fwmark 7 {", "no rule says which packets"),
        ("virtual_server 10.9.0.10 80 {\n protocol SCTP", "no SCTP"),
    ],
)
def test_services_without_users_are_said(tmp_path: Path, service: str, says: str) -> None:
    found = _prepared(tmp_path, service + "\n real_server 10.9.7.11 80 {\n}\n}\n")
    assert any(says in note for note in found.directors[0].notes)
    assert not list(found.stage(any_kernel()).doors())
    assert ("killed" in found.duration(Wish())) == ("SCTP" in service), "nothing is waited for but tables"
    assert "served: not known, as no service has users here" in list(summary(Answers()))


def test_a_service_of_every_port_is_asked_at_one(tmp_path: Path) -> None:
    text = "virtual_server 10.9.0.10 0 {\n protocol TCP\n persistence_timeout 60\n"
    text += " lvs_method DR\n real_server 10.9.0.21 0 {\n}\n}\n"
    assert [door.port for door in _prepared(tmp_path, text).stage(any_kernel()).doors()] == [80]


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--kernel", "host"], "give them a kernel of their own"),
        (["--deaths", "drowned"], "choose from: killed"),
        (["--write-plan", "/proc/plan.toml"], "cannot be written"),
        (["--kernel", "no-such"], "no-such"),
        (["--kernel", "uml", "--kernel", "uml", "--kernel", "uml"], "give one, or two"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    tmp_path: Path, option: list[str], says: str
) -> None:
    (tmp_path / "keepalived.conf").write_text(KEEPALIVED)
    done = lvslab("rehearse", "keepalived.conf", *option, "--runs", "runs", place=tmp_path)
    assert done.code == 2 and says in done.err, done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()
