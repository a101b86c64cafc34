"""A user's own configuration, rehearsed: the files are read, a lab is made of them with their own
addresses, the real daemons run on them in real kernels, and what users would notice is measured.
"""
