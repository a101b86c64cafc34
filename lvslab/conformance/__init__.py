"""Conformance: every IPVS feature proven at packet level.

What is checked stands in `checks/`, one module a subject; `check.py` says what a check is.
`testbed.py` puts the director under test (`director.py`) between two wires (`wire.py`);
`addresses.py` is the world around it, `seen.py` what came out. Checks speak in the words of
`packets.py` (packets compared), `datagrams.py`, `flows.py` (TCP conversations), `entries.py` (the
director's tables), `scheduling.py` (a service beside its model in `models/`) and `syncing.py`.
`ways.py` knows what differs between kernels. `suite.py` runs it all, on several directors at once
(`shards.py`, `runner.py`); `selftest.py` is the kernel's own selftest.
"""
