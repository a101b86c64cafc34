"""What each parameter in /proc/sys/net/ipv4/vs changes, on and off.

Facts: Documentation/networking/ipvs-sysctl.rst and, where it is silent or wrong, Linux 6.1's
ip_vs_core.c, ip_vs_ctl.c, ip_vs_conn.c. secure_tcp is in states/tcp.py, expire_quiescent_template
in persistence.py.
"""
