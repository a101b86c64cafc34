"""Debian's kernels: `debian/SUITE[:FLAVOUR][=VERSION]`, from the machine's own mirror, through
apt's own tools, with signatures checked and nothing installed.
"""
