"""Scenarios and their runs: what a scenario file says, what it is given, how jobs are done."""

from lvslab.scenario.description import Scenario as Scenario
from lvslab.scenario.description import scenario as scenario
