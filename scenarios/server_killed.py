"""The web server's process dies: its kernel refuses connections, and IPVS goes on sending every
second one there.
"""

from lvslab import faults
from lvslab.scenario.stories import server_failure

run = server_failure(
    faults.server_killed,
    title="Real server killed (RST), under each health control",
    teaches=(
        "a killed server refuses connections until somebody takes it out of the table; every control does, at"
        " its own pace"
    ),
)
