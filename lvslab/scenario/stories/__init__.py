"""Stories that several scenarios tell: a server fails under health control, a director of a pair
fails; and what is expected of them.
"""

from lvslab.scenario.stories.common import SETTLE, Break, http_service, weight_of
from lvslab.scenario.stories.directors import (
    Connections,
    director_fails,
    director_failure,
    early_takeover,
    late_sync,
    takeover_bound,
)
from lvslab.scenario.stories.servers import server_fails, server_failure

__all__ = [
    "SETTLE",
    "Break",
    "Connections",
    "director_fails",
    "director_failure",
    "early_takeover",
    "http_service",
    "late_sync",
    "server_fails",
    "server_failure",
    "takeover_bound",
    "weight_of",
]
