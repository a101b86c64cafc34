"""The master's kernel stands still and goes on later, still believing that it is the master: for a
moment there are two.
"""

from lvslab import faults
from lvslab.runs.words import plural
from lvslab.scenario.experiment import Experiment
from lvslab.scenario.stories import director_failure
from lvslab.scenario.trial import Trial


def two_masters(log: Experiment, trial: Trial, woke: float, name: str) -> None:
    """The old master wakes up as master: the other one hears its higher priority and steps back."""
    first, second = (each.name for each in trial.lab.plan.directors)
    stepped_back = trial.mark("vrrp", woke, f"{second}: outer addresses BACKUP")
    again = trial.outage(woke)
    log.expect(
        f"{name}: two masters",
        stepped_back is not None,
        f"{first} woke as master; "
        + (
            f"{second} stepped back {stepped_back - woke:.3f} s later"
            if stepped_back
            else f"{second} did not step back"
        )
        + (
            f"; {plural(again.failed, 'attempt')} failed within {again.end - again.start:.3f} s"
            if again
            else "; no attempt failed"
        ),
        trial=trial,
    )


run = director_failure(
    faults.director_hung,
    title="Director hung, and back as a second master",
    teaches=(
        "a frozen master is replaced like a dead one, but it wakes up as master: two hold the virtual address"
        " until one hears the other"
    ),
    afterwards=two_masters,
    own_kernel=True,
)
