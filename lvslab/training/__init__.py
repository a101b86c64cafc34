"""Training labs: something to build or to repair in a running network, judged by what the network
does afterwards.
"""
