"""Which commit broke IPVS: kernels between a good and a bad one are built, booted and judged by
checks of the conformance suite.
"""
