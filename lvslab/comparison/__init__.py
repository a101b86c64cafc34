"""Two runs compared: what pairs up, what may be compared at all, verdicts and numbers, and what
counts as a regression.
"""
