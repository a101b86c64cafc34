"""What a run leaves behind: the run directory (`rundir`), the records in it (`records`) and the
statistics on them (`stats`).
"""
