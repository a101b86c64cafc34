"""TCP (RFC 9293) as Linux speaks it: windows, retransmission, selective acknowledgements."""

from lvslab.simulation.endpoints.tcp.connection import Application, Connection, Failure, State
from lvslab.simulation.endpoints.tcp.settings import TcpSettings
from lvslab.simulation.endpoints.tcp.stack import TCP, Tcp

__all__ = ["TCP", "Application", "Connection", "Failure", "State", "Tcp", "TcpSettings"]
