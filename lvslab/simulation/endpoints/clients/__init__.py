"""Simulated clients: the prober, with its attempts and lasting connections."""

from lvslab.simulation.endpoints.clients.prober import Prober
from lvslab.simulation.endpoints.clients.probing import Probing

__all__ = ["Prober", "Probing"]
