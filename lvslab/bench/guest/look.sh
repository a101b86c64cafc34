# In the director's namespace: IPVS's counters (/proc/net/ip_vs_stats_percpu: processor, connections, packets in and out, bytes in and out;
# hexadecimal), then over all real servers their number, active and inactive connections, and the fewest and the most connections of one
# server, then how many connections are in TCP's states SYN_RECV and ESTABLISHED.
sed -n 3p /proc/net/ip_vs_stats_percpu
awk '$1 == "->" && $5 ~ /^[0-9]/ { n++; a += $5; i += $6; c = $5 + $6; if (n == 1 || c < low) low = c; if (c > high) high = c }
    END { print n + 0, a + 0, i + 0, low + 0, high + 0 }' /proc/net/ip_vs
if grep -q '^TCP' /proc/net/ip_vs; then
    awk '$8 == "SYN_RECV" { s++ } $8 == "ESTABLISHED" { e++ } END { print s + 0, e + 0 }' /proc/net/ip_vs_conn
else
    echo 0 0
fi
