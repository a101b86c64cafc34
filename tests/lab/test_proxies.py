"""Proxies in a real director: they serve and share, get over a dead server, and say why when they
cannot start.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import pytest

from lvslab.control.base import ControlFile
from lvslab.errors import LabError, UsageError
from lvslab.kernels import probe
from lvslab.kernels.needs import Need
from lvslab.lab.daemon import Daemon
from lvslab.lab.lab import Lab
from lvslab.plan.make import make_plan
from lvslab.plan.spec import LabSpec
from lvslab.proxies import contest, pound_package, web
from lvslab.proxies.haproxy import CONFIGURATION, HaProxy
from lvslab.proxies.tier import PROXIES, serving
from lvslab.runs import rundir
from lvslab.traffic import http
from tests.lab.conftest import in_sandbox, run_lvslab

pytestmark = pytest.mark.usefixtures("quick_guests")

CALLS = 20_000


class Misconfigured(HaProxy):
    """HAProxy with a word that it does not know."""

    name = "misconfigured"

    def _files(self, service: Any, directory: PurePath) -> dict[str, ControlFile]:
        return {CONFIGURATION: ControlFile("frontend x\n    binned :80\n")}


def _lab(mode: str, logs: Path) -> Lab:
    logs.mkdir(parents=True)
    return Lab(make_plan(LabSpec.of(mode), probe.kernels_here(frozenset({Need.IP_VS}))), logs)


def _servers(lab: Lab, times: int) -> list[str | None]:
    return [each.server for each in http.get(lab.clients[0], f"http://{lab.plan.addresses.vip}/", times)]


def _one_after_the_other(tmp_path: Path, names: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with _lab("nat", tmp_path / "logs") as lab:
        found["lvs"] = (contest.ask(lab), contest.seen_by_servers(lab, proxied=False))
        for name in names:
            with serving(lab, PROXIES[name], tmp_path):
                found[name] = (
                    contest.ask(lab),
                    contest.seen_by_servers(lab, proxied=True),
                    lab.ipvsadm.save(),
                )
        found["after"] = _servers(lab, 1)
        with serving(lab, PROXIES["haproxy"], tmp_path):
            found["second"] = _error(lab, "nginx", tmp_path)
        try:
            with serving(lab, Misconfigured(), tmp_path):
                found["misconfigured"] = ""
        except LabError as error:
            found["misconfigured"] = str(error)
        found["stops"] = _stops(lab, tmp_path)
        web.stop_web_server(lab.servers[1])
        for name in names:
            with serving(lab, PROXIES[name], tmp_path):
                found[f"{name}, rs2 dead"] = _servers(lab, 4)
        lab.director.run("echo 1 >/proc/sys/net/ipv4/ip_forward")
        lab.ipvsadm.restore(lab.plan.services)
        found["lvs, rs2 dead"] = _servers(lab, 4)
    return found


def _error(lab: Lab, name: str, logs: Path) -> str:
    try:
        with serving(lab, PROXIES[name], logs):
            return ""
    except LabError as error:
        return str(error)


def _stops(lab: Lab, logs: Path) -> int:
    """Stops of a program that makes CALLS system calls, by the count of the machine."""
    guest = lab.guest("lvs")
    assert guest is not None
    before = contest.program_stops(guest)
    program = f"$| = 1; getppid for 1..{CALLS}; print qq(done\\n); sleep 600"
    with Daemon(lab.director, "caller", f"exec perl -e '{program}'", {}, logs) as daemon:
        daemon.await_line("done", 60)
        after = contest.program_stops(guest)
    return max(count - before.get(pid, 0) for pid, count in after.items())


def test_each_proxy_serves_shares_and_gets_over_a_dead_server(tmp_path: Path) -> None:
    names = [name for name in PROXIES if name != "pound" or pound_package.installed()]
    found = in_sandbox(_one_after_the_other, tmp_path, names)
    shared, client = found["lvs"]
    assert shared.in_turn(("rs1", "rs2")) and shared.seen == {client}
    for name in names:
        shared, director, table = found[name]
        assert shared.in_turn(("rs1", "rs2")), (name, shared)
        assert shared.seen == {director} != {client} and table == (), name
        assert (tmp_path / "lvs" / f"{name}.log").exists(), name
        assert found[f"{name}, rs2 dead"] == ["rs1"] * 4, name
    assert found["after"] == [None], "nobody serves when the proxy is gone: it was not IPVS"
    assert sorted(found["lvs, rs2 dead"], key=str) == [None, None, "rs1", "rs1"], "IPVS alone does not notice"
    assert found["second"].startswith("lvs: something listens on 10.0.0.10:80 already, so nginx cannot")
    assert (
        "misconfigured ended with status 1; it said last: " in found["misconfigured"]
        and "binned" in found["misconfigured"]
    )
    assert CALLS <= found["stops"] < 1.2 * CALLS


def _behind_dr(tmp_path: Path) -> None:
    with _lab("dr", tmp_path / "logs") as lab, serving(lab, PROXIES["haproxy"], tmp_path):
        pass


def test_a_proxy_needs_servers_that_answer_through_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"proxy 'haproxy': real servers of topology 'dr'"):
        in_sandbox(_behind_dr, tmp_path)


def _apache(tmp_path: Path) -> contest.Shared:
    with _lab("nat", tmp_path / "logs") as lab:
        for node in lab.servers:
            web.replace_web_server(node, "apache")
        return contest.ask(lab, rounds=2)


def test_apache_answers_as_the_labs_own_web_server_does(tmp_path: Path) -> None:
    shared = in_sandbox(_apache, tmp_path)
    assert shared.in_turn(("rs1", "rs2")) and shared.seen == {"10.0.0.101"}


def test_the_comparison_measures_every_contender_and_answers(tmp_path: Path) -> None:
    options = ("--repeat", "1", "--seconds", "2", "--rate", "60", "--contenders", "lvs-nat,nginx")
    done = run_lvslab("run", "l4-versus-l7", *options, "--json", "--runs", str(tmp_path))
    assert done.code == 0, done.out + done.err
    assert [each["verdict"] for each in done.data["results"]] == ["pass"] * 7
    (directory,) = tmp_path.iterdir()
    run = rundir.load(directory)
    for name in ("lvs-nat", "nginx"):
        measured = {each.metric for each in run.samples if each.lab == name and each.value is not None}
        assert {
            "connections_per_second",
            "requests_per_second",
            "download",
            "loaded_latency_p99",
            "director_cpu",
        } <= measured
    assert (directory / "answer.txt").read_text().startswith("The claim that layer-7 proxies")
    assert (directory / "logs/nginx/lvs/nginx.conf").exists() and (directory / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--contenders", "lvs-nat"), "name two or more, each once"),
        (("--contenders", "lvs-nat,varnish"), "'varnish' is none of"),
        (("--server", "iis"), "'iis' is none of: nginx, apache"),
        (("--seconds", "0"), "seconds 0.0: give 1 to 3600"),
        (("--rate", "20", "--seconds", "2"), "20/s for 2 s gives 40 requests; a p99 needs 110"),
    ],
)
def test_wrong_input_starts_nothing(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = run_lvslab("run", "l4-versus-l7", *arguments, "--no-report", "--runs", str(tmp_path))
    assert done.code == 2 and words in done.err and "booting" not in done.err
