"""Instructions per packet in virtual time: a stock kernel under QEMU, the same figure whatever the
machine's load (docs/bench.md).
"""
