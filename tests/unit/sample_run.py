"""Synthetic run directories: five modes with plausible numbers and packets, and the ways in which a
run can go wrong.

Every number comes from a seeded generator and the clock is a counter, so that the same call writes
the same bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lvslab.runs.rundir import RunWriter

MODES = ("nat", "dr", "tun", "fullnat", "synproxy")
VIP, CLIENT, PORT = "10.0.0.10", "10.0.0.101", 40312
CLIENT_SEQ, SERVER_SEQ, COOKIE = 2_840_172_613, 917_331_201, 3_310_998_471
START = 1_760_000_000.0

Json = dict[str, Any]


def clock() -> Callable[[], float]:
    """A clock that ticks a quarter of a second a look."""
    now = START

    def tick() -> float:
        nonlocal now
        now += 0.25
        return now

    return tick


# --- networks -------------------------------------------------------------------------------------

_UML = {"kind": "uml", "release": "6.1.174-1-um", "config_sha256": "5f0c" * 16}
_HOST = {
    "kind": "host",
    "release": "6.1.0-28-cloud-amd64",
    "config_sha256": None,
    "why": "needs nothing special",
}


def _mac(number: int) -> str:
    return f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"


def _node(
    name: str,
    role: str,
    interfaces: Sequence[tuple[str, str]],
    mac: int,
    *,
    extra: Sequence[str] = (),
    gateway: str | None = None,
    needs: Sequence[str] = (),
    uml: bool = False,
) -> Json:
    why = f"the host's kernel lacks {', '.join(needs)}; Debian's user-mode-linux has them" if uml else ""
    return {
        "name": name,
        "role": role,
        "needs": list(needs),
        "kernel": {**_UML, "why": why} if uml else _HOST,
        "interfaces": [
            {"name": f"{name}-eth{i}", "mac": _mac(mac + i), "network": network, "addresses": [address]}
            for i, (network, address) in enumerate(interfaces)
        ],
        "extra_addresses": list(extra),
        "gateway": gateway,
    }


def lab(mode: str, clients: int = 1, servers: int = 2) -> Json:
    """The description of a lab, as run.json holds it before anything was measured."""
    subnet = {"dr": "10.0.0", "tun": "10.0.2"}.get(mode, "10.0.1")
    network = "s1" if mode == "dr" else "s2"
    needs = {"fullnat": ["ip_vs", "xt_ipvs", "nat"], "synproxy": ["ip_vs", "SYNPROXY"]}.get(mode, ["ip_vs"])
    director_nics = [("s1", "10.0.0.1/24")] + ([("s2", "10.0.1.1/24")] if subnet == "10.0.1" else [])
    extra = [f"{VIP}/32 on lvs-eth0"] + (["10.0.1.201/32 on lvs-eth1"] if mode == "fullnat" else [])
    nodes = [
        _node(
            f"c{i + 1}",
            "client",
            [("s1", f"10.0.0.{101 + i}/24")],
            0x100 + 16 * i,
            gateway="10.0.0.254" if mode == "tun" else None,
        )
        for i in range(clients)
    ]
    nodes.append(
        _node(
            "lvs",
            "director",
            director_nics,
            0x10,
            extra=extra,
            needs=needs,
            uml=True,
            gateway="10.0.0.254" if mode == "tun" else None,
        )
    )
    if mode == "tun":
        nodes.append(_node("gw", "router", [("s1", "10.0.0.254/24"), ("s2", "10.0.2.254/24")], 0x20))
    vip_on = {"dr": [f"{VIP}/32 on lo"], "tun": [f"{VIP}/32 on tunl0"]}.get(mode, [])
    gateway = {"nat": "10.0.1.1", "synproxy": "10.0.1.1", "tun": "10.0.2.254"}.get(mode)
    for i in range(servers):
        nodes.append(
            _node(
                f"rs{i + 1}",
                "real server",
                [(network, f"{subnet}.{11 + i}/24")],
                0x200 + 16 * i,
                extra=vip_on,
                gateway=gateway,
                needs=["ipip"] if mode == "tun" else [],
                uml=mode == "tun",
            )
        )
    networks = [{"name": "s1", "subnet": "10.0.0.0/24"}] + (
        [] if mode == "dr" else [{"name": "s2", "subnet": f"{subnet}.0/24"}]
    )
    flag = {"dr": "-g", "tun": "-i"}.get(mode, "-m")
    rules = [f"-A -t {VIP}:80 -s rr"] + [
        f"-a -t {VIP}:80 -r {subnet}.{11 + i}:80 {flag} -w 1" for i in range(servers)
    ]
    return {
        "name": mode,
        "mode": mode,
        "topology": mode,
        "nodes": nodes,
        "networks": networks,
        "service_rules": rules,
        "counters": [],
        "start_seconds": None,
        "stop_seconds": None,
    }


def counted(description: Json, requests: int) -> Json:
    """The same lab after `requests` connections, with its counters and times."""
    mode, servers = description["mode"], [n for n in description["nodes"] if n["role"] == "real server"]
    back = mode not in ("dr", "tun")
    rows = []
    for index, server in enumerate(servers):
        conns = requests // len(servers) + (index < requests % len(servers))
        address = server["interfaces"][0]["addresses"][0].split("/")[0]
        rows.append(
            {
                "server": f"{address}:80",
                "name": server["name"],
                "conns": conns,
                "in_packets": 6 * conns,
                "out_packets": 4 * conns if back else 0,
                "in_bytes": 398 * conns,
                "out_bytes": 1462 * conns if back else 0,
            }
        )
    total = {
        key: sum(row[key] for row in rows)
        for key in ("conns", "in_packets", "out_packets", "in_bytes", "out_bytes")
    }
    counters = [{"service": f"TCP {VIP}:80", **total, "servers": rows}]
    return {**description, "counters": counters, "start_seconds": 1.42, "stop_seconds": 0.31}


# --- packets --------------------------------------------------------------------------------------


def path_file(mode: str, wrong_at: int | None = None) -> Json:
    """One HTTP request through the mode, hop by hop; step number `wrong_at` breaks the contract."""
    steps: list[Json] = []
    description = lab(mode)
    macs = {n["name"]: n["interfaces"] for n in description["nodes"]}
    rip = {"dr": "10.0.0.11", "tun": "10.0.2.11"}.get(mode, "10.0.1.11")
    client, vip, server = f"{CLIENT}:{PORT}", f"{VIP}:80", f"{rip}:80"
    lip, time = "10.0.1.201:40312", 0.0
    public_seq = COOKIE if mode == "synproxy" else SERVER_SEQ

    def hop(
        source: str,
        target: str,
        src: str,
        dst: str,
        info: str,
        ttl: int,
        rewritten: Sequence[str] = (),
        outer: bool = False,
    ) -> None:
        nonlocal time
        shared = {i["network"] for i in macs[source]} & {i["network"] for i in macs[target]}
        near, far = (next(i for i in macs[name] if i["network"] in shared) for name in (source, target))
        steps.append(
            {
                "t": round(time, 6),
                "from": source,
                "to": target,
                "link": far["name"],
                "eth_src": near["mac"],
                "eth_dst": far["mac"],
                "outer": {"src": "10.0.0.1", "dst": rip, "protocol": "IPIP"} if outer else None,
                "src": src,
                "dst": dst,
                "protocol": "TCP",
                "info": info,
                "ttl": ttl,
                "rewritten": list(rewritten),
                "verdict": "ok",
                "why": "",
            }
        )
        time += 0.000_021 + 0.000_013 * (len(steps) % 3)

    def told(flags: str, seq: int, ack: int | None, size: int) -> str:
        return (
            f"{flags} seq={seq}"
            + (f" ack={ack}" if ack is not None else "")
            + (f" {size} bytes" if size else "")
        )

    def inward(flags: str, seq: int, ack: int | None = None, size: int = 0) -> None:
        """From client to real server; the numbers count from the start of each side."""
        near = told(flags, CLIENT_SEQ + seq, None if ack is None else public_seq + ack, size)
        far = told(flags, CLIENT_SEQ + seq, None if ack is None else SERVER_SEQ + ack, size)
        hop("c1", "lvs", client, vip, near, 64)
        if mode == "dr":
            hop("lvs", "rs1", client, vip, far, 63)
        elif mode == "tun":
            hop("lvs", "gw", client, vip, far, 63, ["outer"], outer=True)
            hop("gw", "rs1", client, vip, far, 63, [], outer=True)
        elif mode == "fullnat":
            hop("lvs", "rs1", lip, server, far, 63, ["src", "sport", "dst"])
        else:
            hop("lvs", "rs1", client, server, far, 63, ["dst"] + (["ack"] if mode == "synproxy" else []))

    def outward(flags: str, seq: int, ack: int, size: int = 0) -> None:
        near, far = (told(flags, first + seq, CLIENT_SEQ + ack, size) for first in (public_seq, SERVER_SEQ))
        if mode == "dr":
            hop("rs1", "c1", vip, client, far, 64)
        elif mode == "tun":
            hop("rs1", "gw", vip, client, far, 64)
            hop("gw", "c1", vip, client, far, 63)
        elif mode == "fullnat":
            hop("rs1", "lvs", server, lip, far, 64)
            hop("lvs", "c1", vip, client, far, 63, ["src", "dst", "dport"])
        else:
            hop("rs1", "lvs", server, client, far, 64)
            hop("lvs", "c1", vip, client, near, 63, ["src"] + (["seq"] if mode == "synproxy" else []))

    if mode == "synproxy":
        hop("c1", "lvs", client, vip, told("SYN", CLIENT_SEQ, None, 0), 64)
        hop("lvs", "c1", vip, client, told("SYN-ACK", COOKIE, CLIENT_SEQ + 1, 0), 64)
        hop("c1", "lvs", client, vip, told("ACK", CLIENT_SEQ + 1, COOKIE + 1, 0), 64)
        hop("lvs", "rs1", client, server, told("SYN", CLIENT_SEQ, None, 0), 63)
        hop("rs1", "lvs", server, client, told("SYN-ACK", SERVER_SEQ, CLIENT_SEQ + 1, 0), 64)
        hop("lvs", "rs1", client, server, told("ACK", CLIENT_SEQ + 1, SERVER_SEQ + 1, 0), 63)
    else:
        inward("SYN", 0)
        outward("SYN-ACK", 0, 1)
        inward("ACK", 1, 1)
    inward("PSH-ACK", 1, 1, 78)
    outward("PSH-ACK", 1, 79, 147)
    inward("FIN-ACK", 79, 148)
    outward("FIN-ACK", 148, 80)
    verdict, reason = "pass", "every packet of the flow is as the contract demands"
    if wrong_at is not None:
        step = steps[wrong_at]
        why = (
            f"source address {rip} where the contract demands the VIP {VIP}: the director did not"
            " translate it"
        )
        step.update(verdict="wrong", why=why, src=server, rewritten=[])
        del steps[wrong_at + 1 :]
        hop("c1", "lvs", client, vip, told("RST", CLIENT_SEQ + 1, None, 0), 64)
        steps[-1]["verdict"] = "unjudged"
        verdict, reason = "fail", f"packet {wrong_at + 1}: {why}"
    flow = {
        "name": "http",
        "title": f"TCP {client} > {vip}",
        "verdict": verdict,
        "reason": reason,
        "steps": steps,
    }
    return {"lab": mode, "columns": [n["name"] for n in description["nodes"]], "flows": [flow]}


# --- measurements ---------------------------------------------------------------------------------

_LEVEL = {  # throughput, requests/s, connections/s, latency, director CPU a request
    "nat": (8.6e9, 31_200, 9_400, 0.00046, 2.9e-5),
    "dr": (9.7e9, 38_500, 11_900, 0.00038, 2.1e-5),
    "tun": (7.1e9, 29_800, 9_000, 0.00049, 2.6e-5),
    "fullnat": (7.9e9, 27_700, 7_600, 0.00055, 3.6e-5),
    "synproxy": (7.4e9, 26_900, 6_100, 0.00071, 4.4e-5),
}


def measure(
    writer: RunWriter,
    mode: str,
    *,
    repeats: int = 3,
    requests: int = 400,
    without: Sequence[str] = (),
    servers: int = 2,
) -> None:
    """Write the samples of a mode; a metric in `without` failed each time."""
    dice = random.Random(f"lvslab {mode}")
    throughput, rate, connections, latency, cpu = _LEVEL[mode]

    def record(
        metric: str, unit: str, repeat: int, value: float, labels: dict[str, str] | None = None
    ) -> None:
        failed = metric in without
        writer.sample(
            lab=mode,
            mode=mode,
            metric=metric,
            unit=unit,
            repeat=repeat,
            value=None if failed else value,
            labels=labels,
            error="wrk: unable to connect to 10.0.0.10:80 Connection refused" if failed else None,
        )

    for repeat in range(repeats):
        record("throughput", "bit/s", repeat, throughput * dice.gauss(1, 0.03))
        record(
            "retransmits",
            "segments",
            repeat,
            float(dice.randint(0, 5) if mode == "dr" else dice.randint(90, 420)),
        )
        record("requests_per_second", "1/s", repeat, rate * dice.gauss(1, 0.015))
        record("connections_per_second", "1/s", repeat, connections * dice.gauss(1, 0.06))
        record(
            "director_cpu",
            "s",
            repeat,
            cpu * dice.gauss(1, 0.02),
            {"during": "requests_per_second", "per": "request"},
        )
        record(
            "director_cpu",
            "s",
            repeat,
            3.1 * cpu * dice.gauss(1, 0.02),
            {"during": "connections_per_second", "per": "connection"},
        )
        record(
            "director_cpu",
            "s",
            repeat,
            6000 * cpu * dice.gauss(1, 0.02),
            {"during": "throughput", "per": "GB"},
        )
        if "latency" in without:
            record("latency", "s", repeat, 0)
            continue
        values = [
            latency * (1 + dice.expovariate(6)) * (dice.uniform(2, 6) if dice.random() < 0.015 else 1)
            for _ in range(requests)
        ]
        writer.sample(
            lab=mode,
            mode=mode,
            metric="latency",
            unit="s",
            repeat=repeat,
            values=[round(v, 9) for v in values],
        )
        for index in range(servers):
            record(
                "answers",
                "1",
                repeat,
                requests // servers + (index < requests % servers),
                {"server": f"rs{index + 1}"},
            )


# --- whole runs -----------------------------------------------------------------------------------


def writer(root: Path, name: str = "compare-modes", kind: str = "run") -> RunWriter:
    """A writer with the provenance of a plausible machine and a clock that ticks the same every
    time.
    """
    return RunWriter(
        root,
        name,
        kind=kind,
        command=["lvslab", "run", "compare-modes", "--repeat", "3"],
        clock=clock(),
        scenario={
            "name": "compare-modes",
            "title": "The five forwarding modes side by side",
            "teaches": "what each mode rewrites, and what that costs the director",
        },
        parameters={"modes": list(MODES), "clients": 1, "servers": 2, "repeat": 3, "kernel": "auto"},
        host={
            "kernel": "6.1.0-28-cloud-amd64",
            "machine": "x86_64",
            "cpus": 2,
            "cpu_model": "AMD EPYC 7B13",
            "memory_mib": 7953,
            "python": "3.11.2",
            "user": "ordinary user",
        },
        tools={
            "iperf3": "iperf 3.12",
            "wrk": "wrk 4.1.0",
            "ipvsadm": "ipvsadm v1.31 2019/12/24",
            "tcpdump": None,
        },
    )


def evidence(run: RunWriter, mode: str, wrong_at: int | None = None) -> None:
    """Write the captures and logs of a lab."""
    (run.captures / f"{mode}.path.json").write_text(json.dumps(path_file(mode, wrong_at)))
    (run.captures / f"{mode}.ladder.txt").write_text("the ladder as text\n")
    (run.captures / f"{mode}.pcapng").write_bytes(b"\x0a\x0d\x0d\x0a")
    (run.logs / mode).mkdir()
    (run.logs / mode / "commands.sh").write_text(f"ipvsadm -A -t {VIP}:80 -s rr\n")
    if wrong_at is not None:
        step = path_file(mode, wrong_at)["flows"][0]["steps"][wrong_at]
        (run.captures / f"{mode}.contract.txt").write_text(
            f"packet {wrong_at + 1} on {step['link']}: {step['from']} -> {step['to']}, {step['info']}\n"
            f"  sent      src {step['src']}  dst {step['dst']}\n"
            f"  demanded  src {VIP}:80  dst <client> & nothing else\n"
        )


def result(mode: str, wrong: str = "") -> Json:
    """The verdict on a lab."""
    checks = [
        {"name": "the client gets its answer", "verdict": "pass", "reason": "10 of 10 requests"},
        {
            "name": "every packet keeps the contract",
            "verdict": "fail" if wrong else "pass",
            "reason": wrong or "22 of 22 packets",
        },
        {"name": "the connections are spread evenly", "verdict": "pass", "reason": "rs1 5, rs2 5"},
    ]
    files = [f"captures/{mode}.pcapng", f"captures/{mode}.path.json"] + (
        [f"captures/{mode}.contract.txt"] if wrong else []
    )
    return {
        "name": mode,
        "verdict": "fail" if wrong else "pass",
        "reason": wrong or "all checks hold",
        "evidence": files,
        "checks": checks,
    }


NOT_COMPARABLE = (
    "TUN must not be compared with the other modes in requests per second: its real servers ran in guest"
    " kernels (they need ipip), the others' on the host's kernel."
)


def complete(root: Path, modes: Sequence[str] = MODES, repeats: int = 3) -> Path:
    """A run in which everything worked."""
    with writer(root) as run:
        for mode in modes:
            description = lab(mode)
            run.add_lab(description)
            run.add_event(mode, "ready", "director answers")
            evidence(run, mode)
            measure(run, mode, repeats=repeats)
            run.add_lab(counted(description, 1200 * repeats))
            run.add_result(result(mode))
        run.add_not_comparable(NOT_COMPARABLE)
    return run.path


def failed(root: Path) -> Path:
    """NAT broke its contract, DR passed, SYNPROXY was skipped."""
    with writer(root, "verify", "verify") as run:
        for mode, wrong_at in (("nat", 3), ("dr", None)):
            run.add_lab(counted(lab(mode), 10))
            evidence(run, mode, wrong_at)
            run.add_result(result(mode, path_file(mode, wrong_at)["flows"][0]["reason"] if wrong_at else ""))
        run.add_result(
            {
                "name": "synproxy",
                "verdict": "skip",
                "reason": "no kernel here has SYNPROXY: lvslab kernels build",
                "evidence": [],
                "checks": [],
            }
        )
    return run.path


def gaps(root: Path) -> Path:
    """Measurements failed: no throughput in DR, no latency in TUN, too few requests for a p99 in
    NAT; DR has no path file.
    """
    with writer(root, "gaps") as run:
        for mode, without, requests in (
            ("nat", (), 60),
            ("dr", ("throughput",), 400),
            ("tun", ("latency", "requests_per_second"), 400),
        ):
            run.add_lab(lab(mode))
            if mode != "dr":
                evidence(run, mode)
            measure(run, mode, without=without, requests=requests)
            run.add_result(result(mode))
    return run.path


def interrupted(root: Path) -> Path:
    """Ctrl-C in the middle of the second mode, the last sample cut off."""
    run = writer(root, "interrupted")
    try:
        with run:
            run.add_lab(lab("nat"))
            evidence(run, "nat")
            measure(run, "nat", repeats=2)
            run.add_result(result("nat"))
            run.add_lab(lab("dr"))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    file = run.path / "samples.jsonl"
    file.write_bytes(file.read_bytes()[:-25])
    return run.path


def empty(root: Path) -> Path:
    """A run that broke before it had a lab."""
    run = writer(root, "empty")
    try:
        with run:
            raise RuntimeError("no space for the guests")
    except RuntimeError:
        pass
    return run.path
