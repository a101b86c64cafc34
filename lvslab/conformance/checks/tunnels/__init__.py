"""Tunnels to real servers, in every encapsulation and mix of IP versions."""
