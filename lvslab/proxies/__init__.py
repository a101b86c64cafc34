"""The layer-7 tier: HAProxy, nginx and Pound as directors, in the networks and in front of the real
servers that LVS has.
"""
