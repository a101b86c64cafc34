"""What IPVS's schedulers must do, as exact models: who gets the next connection, and who is moved
when servers change.

Everything here is pure. The facts are those of Linux 6.1, net/netfilter/ipvs: the schedulers' own
files ip_vs_rr.c, ip_vs_wrr.c and so on, ip_vs_ctl.c (list order, last_weight, trash, thresholds)
and ip_vs_conn.c (binding and thresholds). Hash seeds are constants there, so even the hashing
schedulers are exact. Only `twos` draws random numbers: its model gives the servers that it may
choose.
"""
