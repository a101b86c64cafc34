"""The machine of a real server is switched off: not even a RST comes back, and IPVS goes on sending
every second connection there.
"""

from lvslab import faults
from lvslab.scenario.stories import server_failure

run = server_failure(
    faults.server_power_off,
    title="Real server powered off (silence), under each health control",
    teaches="a silent server costs its clients the whole timeout until somebody takes it out of the table",
)
