"""Sweeps: one plan, many cells, on this machine or on a cluster.

`plan.py` reads what a user wants, `design.py` makes cells of it in the order in which they are
done, `cell.py` says what a cell is. `work.py` carries one out; `crew.py` lets a Dask cluster do
that; `running.py` hands out cells and takes what comes back; `store.py` is the folder, which holds
the truth.
"""
