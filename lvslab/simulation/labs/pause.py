"""Where a world is stopped, and what is done while it stands."""

from __future__ import annotations

from collections.abc import Callable

from lvslab.errors import StoppedError
from lvslab.lab.worlds import AnyLab


class Pause:
    """A moment at which a world stands, and ends.

    Attributes:
        seconds: of the world's clock, which begins at 0 and goes on from lab to lab.
        look: called there with the lab of that moment; commands in its directors let time pass.
        reached: whether the world came so far.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.reached = seconds, False
        self.look: Callable[[AnyLab], object] = _pass_by

    def hold(self, lab: AnyLab) -> None:
        """Do it.

        Raises:
            StoppedError: always, when it is done.
        """
        self.reached = True
        self.look(lab)
        raise StoppedError(f"stopped at {self.seconds:.9f} s, as --until says; nothing is judged")


def _pass_by(_lab: AnyLab) -> None:
    """Nothing is done there."""
