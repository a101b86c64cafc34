"""The scripts that set nodes up: right for /bin/sh, quick, and they stop at the first failing step
and name it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvslab.modes.base import Action, Ip, Iptables, Step, Sysctl, plain_lines, set_up_script
from lvslab.modes.synproxy import SynProxy
from lvslab.plan.plan import LabPlan, NodePlan
from tests.unit.builders import MODES, lab

STEPS = (
    Step("addresses", "where it lives", (Ip("address add 10.0.0.1/24 dev a-eth0"), Ip("link set a-eth0 up"))),
    Step(
        "tables",
        "what it filters",
        (Iptables("-t nat -A POSTROUTING -j ACCEPT"), Iptables("-A INPUT -p tcp --syn -j DROP")),
    ),
    Step("routes", "where others live", (Ip("route add default via 10.0.0.2"),)),
)

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script with programs that note their arguments and input; `failing` is the input at
    which one of them fails.
    """

    def go(
        script: str,
        failing: str = "nothing fails",
        programs: tuple[str, ...] = ("ip", "iptables-legacy-restore"),
    ) -> Any:
        for program in programs:
            path = tmp_path / program
            path.write_text(
                f'#!/bin/sh\ninput=$(cat)\nprintf \'%s\\n\' "{program} $*" "$input" >>"{tmp_path}/seen"\n'
                f"case $input in *'{failing}'*) echo 'RTNETLINK answers: no' >&2; exit 2;; esac\n"
            )
            path.chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        seen = tmp_path / "seen"
        done.seen = seen.read_text().splitlines() if seen.exists() else []  # type: ignore[attr-defined]
        return done

    return go


def every_node() -> list[tuple[LabPlan, NodePlan]]:
    return [(lab(mode), node) for mode in MODES for node in lab(mode).nodes]


@pytest.mark.parametrize(("plan", "node"), every_node(), ids=lambda each: getattr(each, "name", ""))
def test_every_nodes_script_is_understood_by_sh(plan: LabPlan, node: NodePlan) -> None:
    script = set_up_script((*node.network_steps, *node.mode_steps), plan.iptables)
    checked = subprocess.run(["/bin/sh", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_consecutive_commands_go_to_one_program_with_the_commands_as_its_input(run: Run) -> None:
    done = run(set_up_script(STEPS, "iptables-legacy"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.seen == [
        "ip -batch -",
        "address add 10.0.0.1/24 dev a-eth0",
        "link set a-eth0 up",
        "iptables-legacy-restore --noflush --modprobe=/bin/true",
        "*nat",
        "-A POSTROUTING -j ACCEPT",
        "COMMIT",
        "*filter",
        "-A INPUT -p tcp --syn -j DROP",
        "COMMIT",
        "ip -batch -",
        "route add default via 10.0.0.2",
    ]


@pytest.mark.parametrize(
    ("failing", "step", "programs"),
    [("10.0.0.1/24", "addresses", 1), ("--syn", "tables", 2), ("default", "routes", 3)],
)
def test_the_first_failing_step_ends_the_script_and_is_named(
    run: Run, failing: str, step: str, programs: int
) -> None:
    done = run(set_up_script(STEPS, "iptables-legacy"), failing)
    assert done.returncode == 1 and done.stderr.splitlines() == [
        "RTNETLINK answers: no",
        f"set-up step '{step}' failed",
    ]
    assert sum(line.startswith("ip") for line in done.seen) == programs


def test_a_kernel_parameter_that_cannot_be_set_ends_the_script_and_names_its_step(run: Run) -> None:
    steps = (Step("quiet", "…", (Sysctl("no.such.parameter", 1),)), *STEPS)
    done = run(set_up_script(steps, "iptables-legacy"))
    assert (
        done.returncode == 1
        and "set-up step 'quiet: no.such.parameter' failed" in done.stderr
        and done.seen == []
    )


def test_a_missing_program_ends_the_script_and_names_the_step(run: Run) -> None:
    done = run(set_up_script(STEPS, "iptables-nft"))
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "set-up step 'tables' failed"
    assert "iptables-nft-restore" in done.stderr


@pytest.mark.parametrize(
    ("variant", "command"),
    [
        ("iptables-legacy", "iptables-legacy-restore --noflush --modprobe=/bin/true"),
        ("iptables-nft", "iptables-nft-restore --noflush"),
        (None, "iptables-restore --noflush"),
    ],
)
def test_rules_go_to_the_variant_of_the_kernel_and_are_added(variant: str | None, command: str) -> None:
    assert f"{command} <<'END' || failed 'tables'" in set_up_script(STEPS, variant).splitlines()


def test_a_synproxys_rules_go_to_the_tables_they_belong_to(run: Run) -> None:
    plan = lab("synproxy")
    done = run(
        set_up_script(
            [step for step in plan.director.mode_steps if step.name in ("notrack", "synproxy")],
            "iptables-legacy",
        )
    )
    tables = {
        line: table
        for table in ("*raw", "*filter")
        for before, line in zip(done.seen, done.seen[1:], strict=False)
        if before == table
    }
    assert [table for line, table in tables.items() if "--notrack" in line] == ["*raw"] * 2
    assert [table for line, table in tables.items() if "-j SYNPROXY" in line or "-j DROP" in line] == [
        "*filter"
    ] * 3
    assert done.seen.count("COMMIT") == 5


def test_the_order_of_actions_is_kept_when_kinds_alternate() -> None:
    actions = (Ip("link set a up"), Sysctl("net.ipv4.ip_forward", 1), Ip("link set b up"))
    lines = set_up_script([Step("mixed", "…", actions)], None).splitlines()
    wanted = [
        "link set a up",
        "echo '1' >/proc/sys/net/ipv4/ip_forward || failed 'mixed: net.ipv4.ip_forward'",
        "link set b up",
    ]
    assert [line for line in lines if line in wanted] == wanted and sum(
        "-batch" in line for line in lines
    ) == 2


@given(names=st.lists(st.sampled_from("abc"), max_size=6))
def test_one_ip_process_is_started_for_each_step_of_links(names: list[str]) -> None:
    steps = [Step(name, "…", (Ip(f"link set {name} up"), Ip(f"link set {name} down"))) for name in names]
    script = set_up_script(steps, None)
    assert script.count("ip -batch -") == len(names)
    assert [line for line in script.splitlines() if line.startswith("link")] == [
        f"link set {name} {state}" for name in names for state in ("up", "down")
    ]


def test_a_set_up_of_nothing_succeeds(run: Run) -> None:
    assert run(set_up_script([], None)).returncode == 0


def test_plain_lines_are_what_a_person_would_type_under_the_reason_for_it() -> None:
    assert plain_lines(
        [
            *STEPS[1:],
            Step("proxy", "many", (Sysctl("net.ipv4.tcp_rmem", "1 2 3"), Sysctl("net.ipv4.ip_forward", 1))),
        ]
    ) == [
        "# tables: what it filters",
        "iptables -t nat -A POSTROUTING -j ACCEPT",
        "iptables -A INPUT -p tcp --syn -j DROP",
        "# routes: where others live",
        "ip route add default via 10.0.0.2",
        "# proxy: many",
        "sysctl -w net.ipv4.tcp_rmem='1 2 3'",
        "sysctl -w net.ipv4.ip_forward=1",
    ]


@pytest.mark.parametrize(
    ("action", "plain"),
    [
        (Ip("link set lo up"), "ip link set lo up"),
        (Iptables("-F"), "iptables -F"),
        (Sysctl("a.b", 0), "sysctl -w a.b=0"),
    ],
)
def test_each_action_has_a_plain_form(action: Action, plain: str) -> None:
    assert action.plain() == plain


@pytest.mark.parametrize("mode", MODES)
def test_every_step_of_a_mode_has_a_name_of_its_own_and_a_reason(mode: str) -> None:
    for node in lab(mode).nodes:
        names = [step.name for step in (*node.network_steps, *node.mode_steps)]
        assert len(set(names)) == len(names)
        assert all(step.why and step.actions for step in node.mode_steps)


def test_the_syn_proxy_guards_tcp_services_only() -> None:
    steps = SynProxy().director(lab("nat").addresses, lab("nat").services)
    rules = [action.plain() for step in steps for action in step.actions if isinstance(action, Iptables)]
    assert (
        not any("5300" in rule or "udp" in rule for rule in rules)
        and sum("5201" in rule for rule in rules) == 2
    )
