"""A planned hand-over: keepalived ends orderly on the master and says so (priority 0), so the
backup hardly waits.
"""

from lvslab import faults
from lvslab.scenario.stories import director_failure

run = director_failure(
    faults.handed_over,
    title="Planned hand-over, with and without connection sync",
    teaches=(
        "a master that says goodbye is replaced after the skew time alone; without sync even a planned"
        " hand-over cuts everybody off"
    ),
    announced=True,
)
