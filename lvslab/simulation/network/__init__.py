"""Links, switches and the record of frames of a simulated network."""

from lvslab.simulation.network.link import Conditions, End, Link
from lvslab.simulation.network.record import Record
from lvslab.simulation.network.switch import Port, Switch

__all__ = ["Conditions", "End", "Link", "Port", "Record", "Switch"]
