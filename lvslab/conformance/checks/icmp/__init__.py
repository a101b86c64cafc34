"""ICMP and the connections that it speaks of."""
