"""The SYN proxy as it is composed here: NAT, vs.conntrack and netfilter's SYNPROXY target
(lvslab/modes/synproxy.py).
"""
