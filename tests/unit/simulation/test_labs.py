"""Labs in virtual time, as far as they need no kernel: their clock, and a plan's network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lvslab.catalog import catalog
from lvslab.catalog.catalog import CatalogEntry
from lvslab.cli.virtual import Virtual
from lvslab.errors import CannotError, LabError, StoppedError, UsageError
from lvslab.kernels.needs import KernelFacts, Need
from lvslab.lab.clock import Steps
from lvslab.lab.impairment import Impairment
from lvslab.modes import ALL_MODES
from lvslab.plan.files import shipped_files
from lvslab.plan.make import make_plan
from lvslab.plan.plan import LabPlan
from lvslab.plan.spec import LabSpec
from lvslab.scenario.description import load
from lvslab.simulation.calendar import SECOND, Calendar
from lvslab.simulation.endpoints.addresses import address
from lvslab.simulation.labs.clock import VirtualClock
from lvslab.simulation.labs.lab import SimulatedNode
from lvslab.simulation.labs.links import VirtualLinks
from lvslab.simulation.labs.prober import VirtualProber
from lvslab.simulation.labs.wiring import CABLE, Wiring
from lvslab.simulation.labs.world import VirtualWorld, kernels_of
from lvslab.traffic.prober import ProbeSpec

KERNEL = KernelFacts("virtual-time", "6.1-vt", None, frozenset(Need), {}, "iptables-legacy")
KERNELS = kernels_of({"local/vt": KERNEL})


def plan(mode: str, **options: object) -> LabPlan:
    """A lab whose directors are in virtual time."""
    return make_plan(LabSpec.of(mode, kernels=["local/vt"], **options), KERNELS)


# -- the clock -------------------------------------------------------------------------------------


def test_time_passes_when_it_is_let_pass() -> None:
    clock = VirtualClock(Calendar(), began=5 * SECOND)
    assert clock.now() == 5
    clock.sleep(0.25)
    assert clock.now() == 5.25


def test_what_stops_the_calendar_does_not_cut_a_sleep_short() -> None:
    calendar = Calendar()
    calendar.at(SECOND, calendar.stop)
    VirtualClock(calendar).sleep(3)
    assert calendar.now == 3 * SECOND


def test_a_condition_is_looked_at_whenever_the_calendar_stops() -> None:
    calendar = Calendar()
    calendar.at(SECOND, calendar.stop)
    assert VirtualClock(calendar).wait(lambda: calendar.now == SECOND, timeout=60, look=60)
    assert calendar.now == SECOND
    assert not VirtualClock(calendar).wait(lambda: False, timeout=2, look=0.3)
    assert calendar.now == 3 * SECOND


def test_steps_alongside_are_events_that_put_right_what_they_did() -> None:
    clock = VirtualClock(Calendar())
    done: list[tuple[float, str]] = []

    def steps() -> Steps:
        while True:
            done.append((clock.now(), "stopped"))
            try:
                yield 0.5
            finally:
                done.append((clock.now(), "goes on"))
            yield 1.5

    with clock.alongside("steps", steps()) as alongside:
        alongside.start()
        clock.sleep(2.25)
    assert done == [(0.0, "stopped"), (0.5, "goes on"), (2.0, "stopped"), (2.25, "goes on")]
    clock.sleep(10)
    assert len(done) == 4


def test_what_steps_raise_is_raised_at_the_end() -> None:
    def steps() -> Steps:
        yield 1.0
        raise LabError("broken")

    clock = VirtualClock(Calendar())
    alongside = clock.alongside("steps", steps())
    alongside.start()
    clock.sleep(2)
    with pytest.raises(LabError, match="broken"):
        alongside.end()


# -- a plan's network ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ALL_MODES)
def test_every_mode_can_be_wired(mode: str) -> None:
    made = plan(mode, directors=1)
    wiring = Wiring(made, Calendar(), seed=1)
    assert set(wiring.cards) == {"lvs"}
    assert set(wiring.hosts) == {node.name for node in made.nodes} - {"lvs"}
    assert set(wiring.cables) == {port.name for node in made.nodes for port in node.interfaces}
    assert set(wiring.web_servers) == set(made.addresses.rips)


def test_servers_of_direct_routing_have_the_virtual_address_and_keep_still_about_it() -> None:
    made = plan("dr")
    server = Wiring(made, Calendar(), seed=1).hosts["rs1"]
    assert server.addresses[address(made.addresses.vip)] is None
    assert (server.arp_ignore, server.arp_announce) == (1, 2)
    careless = Wiring(plan("dr", without=["arp"]), Calendar(), seed=1).hosts["rs1"]
    assert (careless.arp_ignore, careless.arp_announce) == (0, 0)


def test_a_direct_attempt_is_answered_and_its_link_can_be_cut_impaired_and_parted(tmp_path: Path) -> None:
    made = plan("dr")
    calendar = Calendar()
    clock = VirtualClock(calendar)
    wiring = Wiring(made, calendar, seed=1)
    links = VirtualLinks(made, wiring, lambda name, script: pytest.fail(f"{name}: {script}"))
    server, client = made.node("rs1"), wiring.hosts["c1"]
    port = server.interfaces[0].name
    spec = ProbeSpec(server.ip, 80, ("rs1",), rate=10.0, timeout=0.09)
    files = tmp_path / "attempts.csv", tmp_path / "beats.csv"

    def outcome() -> str:
        with VirtualProber(clock, client, spec, *files, seed=1) as prober:
            clock.sleep(0.35)
            summary = prober.stop()
        assert len(summary.outcomes) == 1
        return next(iter(summary.outcomes))

    assert outcome() == "ok"
    links.unplug("rs1", [port])
    assert not links.is_up(port) and outcome() == "timeout"
    links.plug("rs1", [port])
    assert links.is_up(port) and outcome() == "ok"

    late = Impairment(delay=1.0)
    links.impair("rs1", [port], late)
    assert links.shown_impairment("rs1", [port]) and outcome() == "timeout"
    links.repair("rs1", [port], late)
    clock.sleep(5)
    assert links.shown_impairment("rs1", [port]) is None and outcome() == "ok"
    assert wiring.cables[port].link.forth.conditions == CABLE

    network = {server.interfaces[0].network: [port]}
    links.cut_off(network)
    assert links.is_cut_off(port) and links.is_up(port) and outcome() == "timeout"
    links.rejoin(network)
    assert not links.is_cut_off(port) and outcome() == "ok"

    web = wiring.web_servers["rs1"]
    for act, state, seen in (
        (web.kill, None, "refused"),
        (web.start, "S", "ok"),
        (web.stop, "T", "timeout"),
        (web.go_on, "S", "ok"),
    ):
        act()
        assert (web.state, outcome()) == (state, seen)
    assert files[0].read_text().startswith("planned,start,connect,")


# -- what is refused -------------------------------------------------------------------------------


def test_a_simulated_machine_runs_no_commands() -> None:
    with pytest.raises(CannotError, match=r"^c1: is simulated, so it runs no command: ping; .* --time real$"):
        SimulatedNode("c1").run("ping\n")


@pytest.mark.parametrize("seed", [-1, 1 << 63])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UsageError, match=f"seed {seed}: give a whole number between 0 and"):
        VirtualWorld(seed)
    with pytest.raises(UsageError, match=f"--seed {seed}: give a whole number between 0 and"):
        Virtual.of("virtual", seed, None, capture=False)


def test_options_of_worlds_belong_to_virtual_time() -> None:
    assert Virtual.of("real", None, None, capture=False) is None
    for seed, seeds, capture in ((1, None, False), (None, 2, False), (None, None, True)):
        with pytest.raises(UsageError, match="add --time virtual"):
            Virtual.of("real", seed, seeds, capture)
    for until, shell in ((1.0, False), (None, True)):
        with pytest.raises(UsageError, match="--until and --shell belong to worlds: add --time virtual"):
            Virtual.of("real", None, None, False, until, shell)


@pytest.mark.parametrize(
    ("until", "seeds", "says"),
    [
        (-1.0, None, "--until -1: give seconds between 0 and"),
        (float("nan"), None, "--until nan: give seconds between 0 and"),
        (3.0, 2, "--until stops one world: leave --seeds out"),
        (None, None, "--shell opens where --until stops the world: add --until SECONDS"),
    ],
)
def test_a_moment_at_which_no_world_can_stop_is_refused(
    until: float | None, seeds: int | None, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        Virtual.of("virtual", None, seeds, False, until, True)


def test_a_moment_that_a_world_does_not_reach_is_told() -> None:
    virtual = Virtual.of("virtual", None, None, False, 3.0)
    assert virtual is not None and virtual.pause is not None
    with pytest.raises(UsageError, match="--until 3: this world ended before that"):
        virtual.judge_pause()
    with pytest.raises(StoppedError, match=r"stopped at 3\.000000000 s"):
        virtual.pause.hold(None)
    virtual.judge_pause()


SCENARIOS = {name: load(name, shipped_files("scenarios")) for name in shipped_files("scenarios")}


@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if scenario.real_time])
def test_what_only_real_time_can_tell_is_refused_at_once(name: str) -> None:
    virtual = Virtual.of("virtual", None, None, capture=False)
    assert virtual is not None
    with pytest.raises(UsageError, match=f"scenario '{name}': needs real time for .*: "):
        virtual.refuse([SCENARIOS[name]])
    virtual.refuse([SCENARIOS["director-power-cut"]])


def test_the_page_says_of_every_scenario_whether_it_runs_here_and_why_not() -> None:
    page = (Path(__file__).parents[3] / "docs" / "simulation.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (yes|no: .+) \|$", page, re.M))
    assert rows == {
        name: f"no: {scenario.real_time}" if scenario.real_time else "yes"
        for name, scenario in SCENARIOS.items()
    }


def test_a_pair_of_two_kernels_gets_the_oldest_and_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(*releases: str) -> None:
        entries = [
            CatalogEntry(f"local/{release}", "", Path(), (), replace(KERNEL, release=release), 1.0, 1.0, None)
            for release in releases
        ]
        monkeypatch.setattr(catalog, "entries", lambda: entries)

    world, given = VirtualWorld(1), ["local/given"]
    here("6.12.117-vt", "6.1.192-vt", "6.6.1-vt")
    assert world.kernels(["uml"], given) == world.kernels([], given) == given
    assert world.kernels(["uml", "debian/trixie"], given) == ("local/6.1.192-vt", "local/6.12.117-vt")
    own = ["local/6.12.117-vt", "local/6.6.1-vt"]
    assert world.kernels(own, given) == own
    here("6.1.192-vt")
    with pytest.raises(CannotError, match=r"virtual time has local/6\.1\.192-vt alone; make another one"):
        world.kernels(["uml", "debian/trixie"], given)
