"""The datagram by which an IPVS master tells its backups about connections, versions 0 and 1.

From net/netfilter/ipvs/ip_vs_sync.c of Linux.

Version 1, the default (`net.ipv4.vs.sync_version`): struct ip_vs_sync_mesg, then nr_conns times
struct ip_vs_sync_v4 or ip_vs_sync_v6:

    | reserved = 0  |    syncid     |             size              |   size: bytes of the whole message
    |   nr_conns    |    version    |           spare = 0           |

    |     type      |   protocol    |           ver_size            |   ver_size: 4 bits of version (0), 12 of the entry's size
    |                             flags                             |
    |             state             |             cport             |
    |             vport             |             dport             |
    |                            fwmark                             |
    |                      timeout (seconds)                        |
    |              caddr, vaddr, daddr: 4 or 16 bytes each          |
    |  options: type (1), length of the data (1), data              |

Each entry begins at a multiple of four bytes; the zeros before it belong to no entry, and nothing
is padded behind the last one.

Version 0: struct ip_vs_sync_mesg_v0, then nr_conns times struct ip_vs_sync_conn_v0, IPv4 only,
without timeout and firewall mark:

    |   nr_conns    |    syncid     |             size              |

    |   reserved    |   protocol    |             cport             |
    |             vport             |             dport             |
    |                     caddr, vaddr, daddr                       |
    |             flags             |             state             |
    |  two ip_vs_seq, 24 bytes, with flags IN_SEQ or OUT_SEQ        |   in the byte order of the sender

Both go to UDP port 8848 and multicast address 224.0.0.81 by default; with `net.ipv4.vs.sync_ports`
n, to the n ports from there. A receiver takes a message as version 1 if version is 1 and reserved
and spare are 0, else as version 0 (ip_vs_process_message).
"""  # noqa: E501, W505
