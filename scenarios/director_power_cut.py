"""The master's kernel dies at once, as by a power cut; VRRP moves the addresses, connection sync
decides who notices.
"""

from lvslab import faults
from lvslab.scenario.stories import director_failure

run = director_failure(
    faults.director_power_cut,
    title="Director power cut, with and without connection sync",
    teaches=(
        "a backup takes over after 3 × advert + skew; established connections live on only if they were"
        " synchronised"
    ),
    offers=["preempt"],
    own_kernel=True,
)
