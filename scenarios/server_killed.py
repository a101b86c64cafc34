"""The web server's process dies: its kernel refuses connections, and IPVS goes on sending every
second one there.
"""

from lvslab import faults
from lvslab.control.health import CONTROLS
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import server_fails


@scenario(
    title="Real server killed (RST), under each health control",
    teaches=(
        "a killed server refuses connections until somebody takes it out of the table; every control does, at"
        " its own pace"
    ),
    modes=["nat", "dr", "tun", "fullnat", "synproxy"],
    seconds=60,
    choices={"control": CONTROLS, "check": ["tcp", "http", "misc"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    control: tuple[str, ...] = tuple(CONTROLS),
    check: str = "tcp",
    server: str = "rs1",
    interval: float = 1.0,
    timeout: float = 1.0,
    rate: float = 500.0,
    repeat: int = 1,
) -> None:
    server_fails(
        log,
        faults.server_killed,
        mode=mode,
        controls=control,
        check=check,
        server=server,
        interval=interval,
        timeout=timeout,
        rate=rate,
        repeat=repeat,
    )
