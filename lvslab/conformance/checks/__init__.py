"""The checks, one module a subject. A check is a function marked with
`lvslab.conformance.check.check`.
"""
