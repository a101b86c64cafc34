"""The web server hangs (SIGSTOP): its kernel still completes connections, so a check that only
connects sees nothing wrong.
"""

from lvslab import faults
from lvslab.control.controls import CONTROLS
from lvslab.modes import ALL_MODES
from lvslab.scenario import scenario
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import server_fails


@scenario(
    title="Real server hung: which check notices?",
    teaches=(
        "a TCP check passes on a hung server, because its kernel accepts connections for it; only a check"
        " that wants an answer helps"
    ),
    modes=ALL_MODES,
    seconds=90,
    choices={"control": CONTROLS, "check": ["tcp", "http", "misc"]},
)
def run(
    log: Experiment,
    mode: str = "nat",
    control: tuple[str, ...] = tuple(CONTROLS),
    check: tuple[str, ...] = ("http", "tcp"),
    server: str = "rs1",
    interval: float = 1.0,
    timeout: float = 1.0,
    rate: float = 200.0,
    repeat: int = 1,
) -> None:
    for way in check:
        notices = way != "tcp"
        server_fails(
            log,
            faults.server_hung,
            mode=mode,
            controls=[name for name in control if notices or name != "none"],
            check=way,
            server=server,
            interval=interval,
            timeout=timeout,
            rate=rate,
            repeat=repeat,
            notices=notices,
            patience=4.0,
        )
