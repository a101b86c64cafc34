"""The project's own kernel faults: small described edits of IPVS, and what of the suite sees each.

All of them are in one kernel: each stands behind a number that a module parameter chooses, so one
build of the modules and one boot serve the whole set. `python -m tests.slow.faults` carries it out.
"""
