"""All forwarding modes side by side: prove each, then measure each in turn, repetition by
repetition.

Every role runs on the same kind of kernel in every mode, or the figures would compare kernels; and
the modes take turns, so that a slow minute of the machine does not fall on one mode alone.
"""

from lvslab.ipvs.service import Scheduler
from lvslab.modes import ALL_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.performance import Performance


@scenario(
    title="Forwarding modes, proven and measured side by side",
    teaches=(
        "what each mode does to a packet, and what that costs in throughput, requests, connections, latency"
        " and director time"
    ),
    modes=ALL_MODES,
    seconds=110,
    choices={"scheduler": Scheduler},
    real_time="throughput, latency and director time: in virtual time work takes none",
)
def run(
    log: Experiment,
    modes: tuple[str, ...] = ALL_MODES,
    repeat: int = 3,
    seconds: float = 1.0,
    requests: int = 200,
    servers: int = 2,
    clients: int = 1,
    scheduler: str = "rr",
) -> None:
    timed = True
    for repetition in log.repetitions(repeat):
        for mode in modes:
            with log.real_lab(
                mode, servers=servers, clients=clients, scheduler=scheduler, alike=modes, kernels=["uml"]
            ) as lab:
                if repetition == 1:
                    log.verify(lab)
                measured = Performance(lab, log.run, repetition)
                measured.latency(requests)
                measured.requests(seconds)
                measured.connections(seconds)
                measured.throughput(seconds)
                if repetition == repeat:
                    log.counters(lab)
                timed = lab.guest(lab.plan.director.name) is not None
    log.run.add_not_comparable(
        "Absolute rates: all nodes share the machine's processors, and some are guest kernels; compare modes"
        " with each other, not with hardware."
    )
    if not timed:
        absent = (
            "Director time: none, as the director runs on the machine's own kernel, where it is not counted"
            " apart; give it a kernel of its own: --kernel uml"
        )
        log.run.add_not_comparable(absent)
        log.note(absent)
