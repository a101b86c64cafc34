"""Programs on simulated servers, and everything that can become of them."""

from lvslab.simulation.endpoints.servers.dns import DnsServer
from lvslab.simulation.endpoints.servers.http import HttpServer
from lvslab.simulation.endpoints.servers.program import Program
from lvslab.simulation.endpoints.servers.tcp import TcpServer
from lvslab.simulation.endpoints.servers.udp import UdpServer

__all__ = ["DnsServer", "HttpServer", "Program", "TcpServer", "UdpServer"]
