"""Load tools wrapped: iperf3, wrk and a closed-loop latency probe, run in a client, their output as
typed data.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lvslab.errors import LabError, UsageError
from lvslab.host.scripts import guest_script
from lvslab.lab.nodes import LabMachine
from lvslab.plan.services import THROUGHPUT_PORT

_CONNECT_TRIES = 50
_BETWEEN_TRIES = 0.1
"""Seconds."""


@dataclass(frozen=True)
class Throughput:
    """One iperf3 run: bit/s that arrived, bytes, segments that were sent again."""

    bits_per_second: float
    bytes: int
    retransmits: int


@dataclass(frozen=True)
class HttpLoad:
    """One wrk run: requests (each a connection when they are not kept alive), and what failed.

    Attributes:
        rate: requests per second.
        failed: answers with another status than 2xx or 3xx, and socket errors.
    """

    requests: int
    rate: float
    failed: int


@dataclass(frozen=True)
class Latencies:
    """One probe: seconds for each request from connect to the last byte; the server that answered
    each; the number that failed.
    """

    seconds: tuple[float, ...]
    servers: tuple[str, ...]
    failed: int


def iperf3(client: LabMachine, address: str, seconds: float, streams: int = 1) -> Throughput:
    """TCP from the client to a real server through the virtual service.

    The server may have been started a moment ago, so a refused connection is tried again for some
    seconds.

    Raises:
        UsageError: less than a second, which iperf3 takes for "without end" (-t, whole seconds).
        LabError: iperf3 failed; the message is its own.
    """
    if seconds < 1:
        raise UsageError(f"throughput for {seconds:g} s: iperf3 counts in whole seconds; give 1 or more")
    options = ["--client", address, "--port", THROUGHPUT_PORT]
    options += ["--time", math.ceil(seconds), "--parallel", streams]
    script = guest_script("lvslab.traffic", "iperf3.sh", _CONNECT_TRIES, _BETWEEN_TRIES, *options)
    return parse_iperf3(client.run(script, timeout=seconds + 30).out)


def parse_iperf3(text: str) -> Throughput:
    """The figures in iperf3's JSON.

    Raises:
        LabError: it reports an error, or is no JSON.
    """
    try:
        data = json.loads(text)
    except ValueError:
        raise LabError(f"iperf3: no result: {text.strip()[:200] or 'no output'}") from None
    if "error" in data:
        raise LabError(f"iperf3: {data['error']}")
    received, sent = data["end"]["sum_received"], data["end"]["sum_sent"]
    return Throughput(
        float(received["bits_per_second"]), int(received["bytes"]), int(sent.get("retransmits", 0))
    )


def wrk(client: LabMachine, url: str, seconds: float, connections: int, keep_alive: bool) -> HttpLoad:
    """HTTP requests as fast as they are answered, over kept-alive connections or a new one for
    each.

    Raises:
        LabError: wrk failed.
    """
    header = "" if keep_alive else " -H 'Connection: close'"
    whole = max(1, round(seconds))  # wrk takes no fractions
    command = f"wrk --threads 1 --connections {connections} --duration {whole}s --timeout 2s{header} {url}"
    done = client.run(command, timeout=whole + 30)
    if done.code != 0:
        raise LabError(f"wrk: {(done.err + done.out).strip()[:200] or f'ended with {done.code}'}")
    return parse_wrk(done.out)


def wrk_from_all(
    clients: Sequence[LabMachine], url: str, seconds: float, connections: int, keep_alive: bool
) -> HttpLoad:
    """As `wrk`, from several clients at once, which share the connections; at least one each.

    Raises:
        LabError: wrk failed on one of them.
    """
    share = max(1, connections // len(clients))
    with ThreadPoolExecutor(max_workers=len(clients), thread_name_prefix="wrk") as pool:
        works = [pool.submit(wrk, client, url, seconds, share, keep_alive) for client in clients]
        loads = [work.result() for work in works]
    return HttpLoad(
        sum(load.requests for load in loads),
        sum(load.rate for load in loads),
        sum(load.failed for load in loads),
    )


def parse_wrk(text: str) -> HttpLoad:
    """The figures in wrk's summary.

    Raises:
        LabError: there is none.
    """
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if not total or not rate:
        raise LabError(f"wrk: no summary in its output: {text.strip()[:200]}")
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    status = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed = sum(map(int, errors.groups())) if errors else 0
    return HttpLoad(int(total[1]), float(rate[1]), failed + (int(status[1]) if status else 0))


def probe_latency(client: LabMachine, address: str, port: int, count: int) -> Latencies:
    """Ask one request after the other, each over a new connection, and time each.

    Raises:
        LabError: the probe did not run.
    """
    program = Path(__file__).with_name("latency.py")
    command = shlex.join([sys.executable, "-I", "-S", str(program), address, str(port), str(count)])
    done = client.run(command, timeout=60 + count * 0.1)
    if done.code != 0:
        raise LabError(f"latency probe: {(done.err or done.out).strip()[-200:]}")
    data = json.loads(done.out)
    return Latencies(tuple(data["seconds"]), tuple(data["servers"]), int(data["failed"]))
