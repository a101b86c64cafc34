"""Conformance: every IPVS feature proven at packet level. `checks/` holds what is checked,
`bench.py` the director under test.
"""
