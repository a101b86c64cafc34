"""Simulated machines, packet by packet: what stands around a world's real kernels."""

from lvslab.simulation.endpoints.host import Host
from lvslab.simulation.endpoints.interface import Interface, Rack

__all__ = ["Host", "Interface", "Rack"]
