"""Connection sync: what a master tells its backups, byte for byte, and what a backup makes of it
(net/netfilter/ipvs/ip_vs_sync.c).

A master collects entries in a buffer, which it sends when the next entry does not fit, or two to
three seconds after the first one. The checks make the buffer as small as can be (--sync-maxlen 1:
one entry a datagram), so a further entry, a "mark", pushes out what is before it, and what comes
before the mark is everything that the director had to say: also nothing is seen without waiting.
"""
