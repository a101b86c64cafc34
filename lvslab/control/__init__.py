"""Who changes the director while it runs: ipvsadm, and the programs that watch real servers and
directors.
"""
