"""What the prober is made of; the program that runs it is `lvslab.traffic.probe_program`. The
standard library alone, so that it starts quickly.
"""
