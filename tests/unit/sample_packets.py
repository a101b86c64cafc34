"""The packets of one HTTP request through each mode, as a path file holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lvslab.runs.records import Flow, Outer, PathFile, Step
from tests.unit.sample_lab import VIP, lab

CLIENT, PORT = "10.0.0.101", 40312
CLIENT_SEQ, SERVER_SEQ, COOKIE = 2_840_172_613, 917_331_201, 3_310_998_471


def path_file(mode: str, wrong_at: int | None = None) -> PathFile:
    """One HTTP request through the mode, hop by hop; step number `wrong_at` breaks the contract."""
    steps: list[Step] = []
    description = lab(mode)
    ports = {node.name: node.interfaces for node in description.nodes}
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
        shared = {port.network for port in ports[source]} & {port.network for port in ports[target]}
        near, far = (next(p for p in ports[name] if p.network in shared) for name in (source, target))
        steps.append(
            Step(
                t=round(time, 6),
                source=source,
                target=target,
                link=far.name,
                eth_src=near.mac,
                eth_dst=far.mac,
                outer=Outer("10.0.0.1", rip, 4) if outer else None,
                src=src,
                dst=dst,
                protocol="TCP",
                info=info,
                ttl=ttl,
                rewritten=tuple(rewritten),
                verdict="ok",
            )
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
        why = (
            f"source address {rip} where the contract demands the VIP {VIP}: the director did not"
            " translate it"
        )
        steps[wrong_at:] = [replace(steps[wrong_at], verdict="wrong", why=why, src=server, rewritten=())]
        hop("c1", "lvs", client, vip, told("RST", CLIENT_SEQ + 1, None, 0), 64)
        steps[-1] = replace(steps[-1], verdict="unjudged")
        verdict, reason = "fail", f"packet {wrong_at + 1}: {why}"
    flow = Flow("http", f"TCP {client} > {vip}", verdict, reason, tuple(steps))
    return PathFile(mode, tuple(node.name for node in description.nodes), (flow,))
