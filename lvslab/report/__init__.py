"""Reports from a run directory, on any machine, at any later time: figures, one HTML page, rows for
the terminal.

Reads nothing but the run directory; draws with matplotlib's objects, without its global state;
prints nothing.
"""
