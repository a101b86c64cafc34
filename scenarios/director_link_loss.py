"""The master's cables are pulled: it sees that and gives its addresses up, but nobody hears it say
so.
"""

from lvslab import faults
from lvslab.scenario.stories import director_failure

run = director_failure(
    faults.link_down,
    title="Director loses its links, with and without connection sync",
    teaches=(
        "a director without links is as good as dead to the others, and comes back as a backup that holds its"
        " old connections"
    ),
)
