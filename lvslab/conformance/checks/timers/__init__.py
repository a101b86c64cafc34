"""Every timer of IPVS to the jiffy, in virtual time: what a state's lifetime is, that the entry is
still there in the jiffy before the wheel's bucket ends, and gone in that one.
"""
