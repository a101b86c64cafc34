### c1 (client)
# addresses: interfaces and their addresses
ip address add 10.0.0.101/24 dev c1-eth0
ip link set c1-eth0 up
### lvs (director)
# addresses: interfaces and their addresses
ip address add 10.0.0.1/24 dev lvs-eth0
ip link set lvs-eth0 up
ip address add 10.0.1.1/24 dev lvs-eth1
ip link set lvs-eth1 up
# vip: the director answers for the virtual address
ip address add 10.0.0.10/32 dev lvs-eth0
# ip-forward: replies of the real servers pass the director's routing code
sysctl -w net.ipv4.ip_forward=1
# conntrack: SYNPROXY lives in connection tracking; cookies carry their options in time stamps; an ACK without a connection stays invalid
sysctl -w net.ipv4.vs.conntrack=1
sysctl -w net.ipv4.tcp_syncookies=1
sysctl -w net.ipv4.tcp_timestamps=1
sysctl -w net.netfilter.nf_conntrack_tcp_loose=0
sysctl -w net.netfilter.nf_conntrack_buckets=65536
sysctl -w net.netfilter.nf_conntrack_max=262144
# notrack: SYNs to the service are not tracked, so that a flood of them costs no memory
iptables -t raw -A PREROUTING -d 10.0.0.10 -p tcp --dport 80 --syn -j CT --notrack
iptables -t raw -A PREROUTING -d 10.0.0.10 -p tcp --dport 5201 --syn -j CT --notrack
# synproxy: untracked SYNs get a cookie from the director, and the ACK that brings it back opens the connection
iptables -A INPUT -d 10.0.0.10 -p tcp --dport 80 -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460
iptables -A INPUT -d 10.0.0.10 -p tcp --dport 5201 -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460
iptables -A INPUT -d 10.0.0.10 -p tcp -m state --state INVALID -j DROP
# virtual services
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 1
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 1
ipvsadm -A -t 10.0.0.10:5201 -s rr -p 300
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.1.11:5201 -m -w 1
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.1.12:5201 -m -w 1
### rs1 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.1.11/24 dev rs1-eth0
ip link set rs1-eth0 up
# routes: where the other networks are
ip route add default via 10.0.1.1
# window-scale: the real server's window scale is the 7 that the proxy has announced for it
sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'
### rs2 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.1.12/24 dev rs2-eth0
ip link set rs2-eth0 up
# routes: where the other networks are
ip route add default via 10.0.1.1
# window-scale: the real server's window scale is the 7 that the proxy has announced for it
sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'
