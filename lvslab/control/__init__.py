"""How the programs are configured that watch real servers and directors, and change a director
while it runs. `lvslab.lab.director` starts them.
"""
