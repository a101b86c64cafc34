"""Counters, rates and connection counts against what went through the wires."""
