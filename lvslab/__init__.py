"""lvslab: the laboratory for Linux Virtual Server (LVS/IPVS) load balancing.

Importing this package loads neither scapy, matplotlib nor mininet; the modules that need them
import them when used.
"""

__version__ = "0.1.0"
