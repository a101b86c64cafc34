"""The machine that lvslab runs on: its system calls, the private sandbox, programs, provenance."""
