"""A rolling upgrade: the backup runs a newer kernel; the service is handed over to it, with all its
connections.
"""

from lvslab import faults
from lvslab.modes import IPVS_MODES
from lvslab.scenario.stories import director_failure

run = director_failure(
    faults.handed_over,
    title="Rolling upgrade across two kernels",
    teaches=(
        "connection sync speaks the same language in both kernels: the hand-over to a newer one loses no"
        " synchronised connection"
    ),
    modes=IPVS_MODES,
    rate=300.0,
    kernels=("uml", "debian/trixie"),
    offers=["kernels"],
    announced=True,
)
