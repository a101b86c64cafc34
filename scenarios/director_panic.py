"""The master's kernel panics and does not come back by itself."""

from lvslab import faults
from lvslab.scenario.stories import director_failure

run = director_failure(
    faults.director_panic,
    title="Director kernel panic, with and without connection sync",
    teaches="to the rest of the network a panic is a power cut: silence, then the backup's gratuitous ARP",
    offers=["preempt"],
    own_kernel=True,
)
