"""Proxies: their configurations, what they refuse, how they are got, and the answer that is
computed from a comparison's samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from lvslab.errors import CannotError, UsageError
from lvslab.ipvs.service import PacketForwarding, Protocol, RealServer, Scheduler, VirtualService
from lvslab.proxies import contest, pound_package, web
from lvslab.proxies.base import listens
from lvslab.proxies.contest import Shared, require_alike
from lvslab.proxies.pound import Pound
from lvslab.proxies.tier import PROXIES, proxy_named
from lvslab.report import tier, tier_charts
from lvslab.runs.rundir import Run, load
from lvslab.runs.writer import RunWriter

FOLDER = PurePath("/mnt/proxy")
SERVERS = tuple(
    RealServer(f"10.0.1.{number}", 8080, PacketForwarding.MASQ, weight)
    for number, weight in ((11, 1), (12, 3))
)
SERVICE = VirtualService(Protocol.TCP, "10.0.0.10", 80, scheduler=Scheduler.WRR, real_servers=SERVERS)


def text_of(name: str, service: VirtualService = SERVICE) -> str:
    (file,) = PROXIES[name].files(service, FOLDER).values()
    return file.text


# -- configurations --------------------------------------------------------------------------------


WEIGHTED = {
    "haproxy": [
        "balance roundrobin",
        "10.0.1.11:8080 weight 1",
        "10.0.1.12:8080 weight 3",
        "bind 10.0.0.10:80 ",
        "mode http",
    ],
    "haproxy-tcp": ["balance roundrobin", "10.0.1.12:8080 weight 3", "bind 10.0.0.10:80 ", "mode tcp"],
    "nginx": [
        "server 10.0.1.11:8080 weight=1;",
        "server 10.0.1.12:8080 weight=3;",
        "listen 10.0.0.10:80 ",
        "http {",
        "proxy_pass http://",
    ],
    "nginx-stream": [
        "server 10.0.1.12:8080 weight=3;",
        "listen 10.0.0.10:80 ",
        "stream {",
        "proxy_pass servers;",
    ],
    "pound": [
        "Balancer iwrr",
        "Address 10.0.0.10",
        "Port 80",
        "Address 10.0.1.12",
        "Port 8080",
        "Priority 3",
    ],
}


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_a_configuration_says_what_the_virtual_service_says(name: str) -> None:
    text = text_of(name)
    assert not [word for word in WEIGHTED[name] if word not in text]


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_round_robin_passes_over_weights_and_spares_servers_without_one(name: str) -> None:
    """As IPVS's rr does: of a weight only 0 counts (ip_vs_rr.c)."""
    servers = (*SERVERS, replace(SERVERS[0], address="10.0.1.13", weight=0))
    text = text_of(name, replace(SERVICE, scheduler=Scheduler.RR, real_servers=servers))
    assert not [word for word in ("weight 3", "weight=3", "Priority 3") if word in text]
    rested = text[text.rindex("10.0.1.13") :]
    assert any(word in rested for word in ("weight 0", "down", "Disabled yes"))


@pytest.mark.parametrize(
    ("name", "scheduler", "word"),
    [
        ("haproxy", "wlc", "balance leastconn"),
        ("haproxy", "sh", "balance source"),
        ("nginx", "lc", "least_conn;"),
        ("nginx", "sh", "ip_hash;"),
    ],
)
def test_schedulers_have_their_counterpart(name: str, scheduler: str, word: str) -> None:
    assert word in text_of(name, replace(SERVICE, scheduler=Scheduler(scheduler)))


@pytest.mark.parametrize(
    ("name", "service", "reason"),
    [
        ("haproxy", replace(SERVICE, protocol=Protocol.UDP), "it serves TCP"),
        ("nginx", replace(SERVICE, real_servers=()), "no real server"),
        (
            "pound",
            replace(SERVICE, scheduler=Scheduler.LC),
            "nothing like scheduler 'lc'; choose from: rr, wrr",
        ),
        ("nginx-stream", replace(SERVICE, persistence_timeout=300), "persistence is IPVS's"),
        (
            "haproxy",
            replace(SERVICE, real_servers=(replace(SERVERS[0], weight=300),)),
            "above its largest, 256",
        ),
    ],
)
def test_what_a_proxy_cannot_do_is_refused(name: str, service: VirtualService, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        PROXIES[name].files(service, FOLDER)


def test_an_unknown_proxy_names_those_that_are_known() -> None:
    with pytest.raises(UsageError, match=r"'varnish'.*haproxy.*pound"):
        proxy_named("varnish")


def test_no_program_can_delete_a_device_when_it_ends() -> None:
    """nginx removes its pid file at its end, whatever it is."""
    assert not [
        name for name in PROXIES for line in text_of(name).splitlines() if "pid" in line and "/dev/" in line
    ]


def test_web_servers_answer_what_labs_expect() -> None:
    assert 'return 200 "rs1 $remote_addr $remote_port\\n"' in web.nginx_site("rs1", FOLDER)
    assert "Listen 80\nListen 8080\n" in web.apache_site("rs1", FOLDER)
    with pytest.raises(UsageError, match="'iis': choose from: nginx, apache"):
        web.require("iis")


# -- listening sockets -----------------------------------------------------------------------------

SOCKETS = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0A00000A:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0000000000000000 100 0 0 10 0
   1: 0A00000A:1F90 6500000A:8A3C 01 00000000:00000000 00:00000000 00000000     0        0 1235 1 0000000000000000 100 0 0 10 0
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1236 1 0000000000000000 100 0 0 10 0
"""  # noqa: E501


@pytest.mark.parametrize(
    ("address", "port", "there"),
    [
        ("10.0.0.10", 80, True),
        ("10.0.0.11", 80, False),
        ("10.0.0.10", 8080, False),
        ("10.0.0.10", 22, True),
        ("10.0.0.10", 23, False),
    ],
)
def test_a_listening_socket_is_told_from_others(address: str, port: int, there: bool) -> None:
    assert listens(SOCKETS, address, port) is there


# -- Pound's package -------------------------------------------------------------------------------


def test_the_newest_pound_in_the_cache_is_taken_and_a_half_one_is_not(tmp_path: Path) -> None:
    cache = tmp_path / "kernels"
    assert pound_package.installed(cache) is None
    for version, files in (
        ("4.9-1", ("pound", "ld-linux-x86-64.so.2")),
        ("4.16-3", ("pound", "ld-linux-x86-64.so.2")),
        ("5.0", ("pound",)),
    ):
        (tmp_path / "pound" / version).mkdir(parents=True)
        for name in files:
            (tmp_path / "pound" / version / name).touch()
    found = pound_package.installed(cache)
    assert found is not None and found.version == "4.16-3"


def test_without_pound_the_next_step_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(CannotError, match=r"python -m lvslab\.proxies\.pound_program"):
        Pound().require()


# -- judgements ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("servers", "in_turn"),
    [
        (("rs1", "rs2", "rs1", "rs2"), True),
        (("rs2", "rs1", "rs2", "rs1"), True),
        (("rs1", "rs2", "rs2", "rs1"), False),
        (("rs1", "rs1", "rs1", "rs1"), False),
        (("rs1", "", "rs1", ""), False),
        (("rs1", "rs2", "rs1"), False),
        ((), False),
    ],
)
def test_in_turn_means_every_server_once_a_round(servers: tuple[str, ...], in_turn: bool) -> None:
    assert Shared(servers, frozenset()).in_turn(("rs1", "rs2")) is in_turn


def test_contenders_on_different_kernels_are_refused() -> None:
    alike = {"director": "uml 6.1.176", "client": "host 6.18.0"}
    require_alike({"lvs-nat": alike, "haproxy": dict(alike)})
    with pytest.raises(
        CannotError,
        match=r"lvs-nat and nginx: the director runs kernel 'uml 6.1.176' in one and 'debian/sid 7.2.7'",
    ):
        require_alike(
            {"lvs-nat": alike, "haproxy": alike, "nginx": {**alike, "director": "debian/sid 7.2.7"}}
        )
    with pytest.raises(CannotError, match=r"the client runs kernel 'host 6\.18\.0' in one and 'none'"):
        require_alike({"lvs-nat": alike, "pound": {"director": "uml 6.1.176"}})


# -- the answer ------------------------------------------------------------------------------------

US = 1e-6
Costs = Mapping[str, tuple[float, ...]]
"""Contender → director seconds for a piece of work, one a repetition; the same for every kind of
work.
"""


def a_run(
    root: Path,
    costs: Costs,
    calls: Mapping[str, float] | None = None,
    prices: tuple[float, float] = (10 * US, 0.2 * US),
) -> Run:
    """A run directory with samples as the scenario records them."""
    with RunWriter(root, "l4-versus-l7", kind="run", command=["lvslab"]) as writer:
        for name, values in costs.items():
            for repeat, value in enumerate(values, start=1):
                common = {"lab": name, "mode": "nat", "repeat": repeat}
                for where, price in zip(("director", "machine"), prices, strict=True):
                    writer.sample(**common, metric=f"system_call_{where}", unit="s", value=price)
                writer.sample(**common, metric="connections_per_second", unit="1/s", value=0.1 / value)
                writer.sample(**common, metric="director_busy_connections_per_second", unit="1", value=0.5)
                for work in tier.WORK:
                    labels = {"during": work, "per": "request"}
                    writer.sample(**common, metric="director_cpu", unit="s", value=value, labels=labels)
                    if calls is not None:
                        writer.sample(
                            **common, metric="director_calls", unit="1", value=calls[name], labels=labels
                        )
    return load(writer.path)


def test_the_claim_holds_where_every_proxy_needs_much_more(tmp_path: Path) -> None:
    found = tier.answer(a_run(tmp_path, {"lvs-nat": (100 * US, 110 * US), "haproxy": (700 * US, 660 * US)}))
    assert found.verdict == "holds" and found.complete
    assert "holds here, for every proxy and every kind of work" in found.short
    assert (
        "LVS-NAT takes 105 µs of the director's time; HAProxy 6.50 times (6.00 to 7.00) as much" in found.text
    )


def test_the_claim_does_not_hold_where_proxies_cost_about_the_same(tmp_path: Path) -> None:
    found = tier.answer(a_run(tmp_path, {"lvs-nat": (100 * US, 110 * US), "haproxy": (120 * US, 90 * US)}))
    assert found.verdict == "not" and found.complete
    assert "does not hold here" in found.short and " holds here" not in found.text
    assert "HAProxy 1.01 times (0.818 to 1.20) as much" in found.text


def test_proxies_and_repetitions_that_disagree_are_told_apart(tmp_path: Path) -> None:
    costs = {
        "lvs-nat": (100 * US,) * 2,
        "haproxy": (150 * US,) * 2,
        "nginx": (150 * US, 250 * US),
        "pound": (900 * US,) * 2,
    }
    found = tier.answer(a_run(tmp_path, costs))
    assert found.verdict == "partly"
    holds, not_, open_ = (
        found.short.index(words) for words in ("It holds for", "It does not hold for", "Open,")
    )
    assert (
        "(Pound)" in found.short[holds:not_]
        and "(HAProxy)" in found.short[not_:open_]
        and "(nginx)" in found.short[open_:]
    )


def test_what_system_calls_cost_in_the_guest_is_taken_off_for_each_that_was_counted(tmp_path: Path) -> None:
    """250 µs with 10 calls at 9.8 µs too much each are 152 µs: above twice as measured, below as
    estimated.
    """
    found = tier.answer(
        a_run(tmp_path, {"lvs-nat": (100 * US,), "nginx": (250 * US,)}, calls={"lvs-nat": 0, "nginx": 10})
    )
    assert "nginx 2.50 times, estimated 1.52 times as much" in found.text
    assert found.verdict == "partly" and "Open, because" in found.short
    assert (
        "10.0 µs in the director and 200 ns on the machine itself, 50.0 times" in found.text
        and "upper bounds" in found.text
    )
    assert "(for a new connection: nginx 10.0)" in found.text


def test_system_calls_that_cost_the_same_everywhere_bias_nothing(tmp_path: Path) -> None:
    costs = {"lvs-nat": (100 * US,), "nginx": (250 * US,)}
    found = tier.answer(
        a_run(tmp_path, costs, calls={"lvs-nat": 0, "nginx": 10}, prices=(0.2 * US, 0.2 * US))
    )
    assert (
        found.verdict == "holds"
        and "hardly changes the ratios" in found.text
        and "upper bounds" not in found.text
    )


def test_a_contender_is_compared_with_the_same_repetition_only(tmp_path: Path) -> None:
    """The second repetition met a slow minute: ratios of medians over all would say 4.4."""
    found = tier.ratio(
        a_run(tmp_path, {"lvs-nat": (100 * US, 1000 * US), "nginx": (300 * US, 3000 * US, 2400 * US)}),
        "nginx",
        "lvs-nat",
        "download",
    )
    assert found is not None and found.measured == pytest.approx((3.0, 3.0))


def test_what_failed_is_told_and_never_averaged(tmp_path: Path) -> None:
    run = a_run(tmp_path, {"lvs-nat": (100 * US,), "pound": (500 * US,)})
    with RunWriter(tmp_path, "failed", kind="run", command=["lvslab"]) as writer:
        for each in run.samples:
            failed = each.lab == "pound" and each.labels.get("during") == "download"
            writer.sample(
                lab=each.lab,
                mode=each.mode,
                metric="download" if failed else each.metric,
                unit=each.unit,
                repeat=1,
                labels=each.labels,
                value=None if failed else each.value,
                error="status 503" if failed else None,
            )
    found = tier.answer(load(writer.path))
    assert (
        not found.complete
        and "Not reached, and in no figure: Pound, download, repetition 1: status 503." in found.text
    )
    gigabyte = found.text.partition(f"For {tier.WORK['download']}")[2]
    assert not gigabyte, "a kind of work without a figure is not told"


@pytest.mark.parametrize("costs", [{"lvs-nat": (1.0,), "lvs-dr": (1.0,)}, {"nginx": (1.0,), "pound": (1.0,)}])
def test_without_two_sides_nothing_is_judged(tmp_path: Path, costs: Costs) -> None:
    found = tier.answer(a_run(tmp_path, costs))
    assert found.verdict == "" and not found.complete and "was not tried" in found.short


def test_the_figure_shows_every_ratio_and_says_so_in_words(tmp_path: Path) -> None:
    run = a_run(
        tmp_path,
        {"lvs-nat": (100 * US,) * 2, "nginx": (250 * US,) * 2, "pound": (900 * US,) * 2},
        calls={"lvs-nat": 0, "nginx": 10, "pound": 30},
    )
    assert tier_charts.can_draw(run)
    figure = tier_charts.ratios(run)
    texts = {each.get_text() for axes in figure.axes for each in axes.texts}
    assert {
        "nginx",
        "Pound",
        "2.50 ×",
        "1.52 ×",
        "9.00 ×",
        "as much as LVS-NAT",
        *tier.WORK.values(),
    } <= texts
    assert "nginx 2.50 times (2.50 to 2.50), estimated 1.52 times" in tier_charts.describe(run)


def test_there_is_no_figure_without_both_sides(tmp_path: Path) -> None:
    assert not tier_charts.can_draw(a_run(tmp_path, {"lvs-nat": (1.0,), "lvs-dr": (1.0,)}))


def test_times_of_sh_are_read() -> None:
    assert contest._TIMES.findall("0m0.120000s 1m2.5s") == [("0", "0.120000"), ("1", "2.5")]
