"""What a run leaves behind: its records (`records`, as JSON by `codec`), the directory that holds
them (`writer`, `rundir`) and what can be computed from them (`trials`, `outage`, `stats`, `costs`).
"""
