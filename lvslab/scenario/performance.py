"""Performance of a lab: each function measures one thing once and records it; a failed measurement
is recorded as missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lvslab.errors import GuestError, LabError
from lvslab.lab.lab import Lab
from lvslab.lab.nodes import GuestNode
from lvslab.lab.servers import start_iperf3
from lvslab.modes.base import Sysctl
from lvslab.plan.services import HTTP_PORT
from lvslab.runs.writer import RunWriter
from lvslab.traffic import tools

CONNECTIONS = 16
"""Connections of all clients that wrk keeps busy: enough that the slowest node never idles, few
enough that queues stay short.
"""

_EPHEMERAL = Sysctl("net.ipv4.ip_local_port_range", "1024 65535").fast()


class Performance:
    """Measurements in one running lab.

    Requests come from all clients at once, a single stream and single requests from the first.
    Their range of local ports is widened, so that many short connections do not run out of them.
    """

    def __init__(self, lab: Lab, run: RunWriter, repeat: int) -> None:
        """`repeat`: number of this repetition, from 1."""
        self._lab, self._run, self._repeat = lab, run, repeat
        self._client = lab.clients[0]
        self._vip = lab.plan.addresses.vip
        for node in lab.net.hosts:
            if isinstance(node, GuestNode):
                node.offload()
        for client in lab.clients:
            client.run(_EPHEMERAL).check(client.name, _EPHEMERAL)

    def throughput(self, seconds: float) -> None:
        """One TCP stream through the virtual service: bit/s, segments sent again, director's
        processor time per GB.
        """
        for server in self._lab.servers:
            start_iperf3(server)

        def measure() -> None:
            cpu = self._director_cpu()
            result = tools.iperf3(self._client, self._vip, seconds)
            self._sample("throughput", "bit/s", result.bits_per_second)
            self._sample("retransmits", "segments", result.retransmits)
            self._cpu_sample(cpu, "throughput", "GB", result.bytes / 1e9)

        self._attempt("throughput", "bit/s", measure)

    def requests(self, seconds: float) -> None:
        """HTTP requests over kept-alive connections."""
        self._http("requests_per_second", "request", seconds, keep_alive=True)

    def connections(self, seconds: float) -> None:
        """HTTP requests over a new connection each."""
        self._http("connections_per_second", "connection", seconds, keep_alive=False)

    def _http(self, metric: str, per: str, seconds: float, keep_alive: bool) -> None:
        def measure() -> None:
            cpu = self._director_cpu()
            url = f"http://{self._vip}/"
            result = tools.wrk_from_all(self._lab.clients, url, seconds, CONNECTIONS, keep_alive)
            if result.failed:
                self._sample(
                    metric, "1/s", None, error=f"{result.failed} of {result.requests} requests failed"
                )
                return
            self._sample(metric, "1/s", result.rate)
            self._cpu_sample(cpu, metric, per, result.requests)

        self._attempt(metric, "1/s", measure)

    def latency(self, count: int) -> None:
        """Seconds of single requests, and which server answered each."""

        def measure() -> None:
            result = tools.probe_latency(self._client, self._vip, HTTP_PORT, count)
            error = f"{result.failed} of {count} requests failed" if result.failed else None
            self._run.sample(
                lab=self._lab.plan.name,
                mode=self._lab.plan.mode.name,
                metric="latency",
                unit="s",
                repeat=self._repeat,
                values=result.seconds,
                error=error,
            )
            share = Counter(result.servers)
            for server in self._lab.plan.addresses.rips:
                self._sample("answers", "1", share.get(server, 0), labels={"server": server})

        self._attempt("latency", "s", measure)

    # -- recording ---------------------------------------------------------------------------------

    def _attempt(self, metric: str, unit: str, measure: Callable[[], None]) -> None:
        """Measure; what goes wrong is recorded in the measurement's place, unless the lab itself
        broke.
        """
        self._lab.tell("measure", f"{metric.replace('_', ' ')}, repetition {self._repeat}")
        try:
            measure()
        except GuestError:
            raise
        except LabError as error:
            self._sample(metric, unit, None, error=str(error))

    def _sample(
        self,
        metric: str,
        unit: str,
        value: float | None,
        labels: dict[str, str] | None = None,
        error: str | None = None,
    ) -> None:
        plan = self._lab.plan
        self._run.sample(
            lab=plan.name,
            mode=plan.mode.name,
            metric=metric,
            unit=unit,
            repeat=self._repeat,
            value=value,
            labels=labels,
            error=error,
        )

    def _director_cpu(self) -> float | None:
        guest = self._lab.guest(self._lab.plan.director.name)
        return guest.cpu_seconds() if guest else None

    def _cpu_sample(self, before: float | None, during: str, per: str, work: float) -> None:
        """Processor time of the director's kernel per unit of work; a director on the machine's own
        kernel shows none.
        """
        after = self._director_cpu()
        if before is not None and after is not None and work > 0:
            self._sample("director_cpu", "s", (after - before) / work, labels={"during": during, "per": per})
