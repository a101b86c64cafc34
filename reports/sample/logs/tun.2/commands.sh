### c1 (client)
# addresses: interfaces and their addresses
ip address add 10.0.0.101/24 dev c1-eth0
ip link set c1-eth0 up
# routes: where the other networks are
ip route add default via 10.0.0.254
### lvs (director)
# addresses: interfaces and their addresses
ip address add 10.0.0.1/24 dev lvs-eth0
ip link set lvs-eth0 up
# routes: where the other networks are
ip route add 10.0.2.0/24 via 10.0.0.254
# vip: the director answers for the virtual address
ip address add 10.0.0.10/32 dev lvs-eth0
# virtual services
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.2.11:80 -i -w 1 --tun-type ipip
ipvsadm -a -t 10.0.0.10:80 -r 10.0.2.12:80 -i -w 1 --tun-type ipip
ipvsadm -A -u 10.0.0.10:5300 -s rr
ipvsadm -a -u 10.0.0.10:5300 -r 10.0.2.11:5300 -i -w 1 --tun-type ipip
ipvsadm -a -u 10.0.0.10:5300 -r 10.0.2.12:5300 -i -w 1 --tun-type ipip
ipvsadm -A -t 10.0.0.10:5201 -s rr -p 300
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.2.11:5201 -i -w 1 --tun-type ipip
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.2.12:5201 -i -w 1 --tun-type ipip
### gw (router)
# addresses: interfaces and their addresses
ip address add 10.0.0.254/24 dev gw-eth0
ip link set gw-eth0 up
ip address add 10.0.2.254/24 dev gw-eth1
ip link set gw-eth1 up
# forwarding: this node is a router
sysctl -w net.ipv4.ip_forward=1
sysctl -w net.ipv4.conf.all.rp_filter=0
sysctl -w net.ipv4.conf.default.rp_filter=0
### rs1 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.2.11/24 dev rs1-eth0
ip link set rs1-eth0 up
# routes: where the other networks are
ip route add default via 10.0.2.254
# arp: only the director may answer ARP requests for the virtual address: arp_ignore answers only for addresses of the receiving interface, arp_announce keeps the virtual address out of the servers' own requests
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.all.arp_announce=2
# tunl0: the fallback tunnel takes protocol 4 from any sender, and the virtual address on it makes the inner packet local
ip address add 10.0.0.10/32 dev tunl0
ip link set tunl0 up
# rp-filter: the inner packet's source is not reached through the tunnel, so a strict reverse path filter would drop it
sysctl -w net.ipv4.conf.all.rp_filter=0
sysctl -w net.ipv4.conf.tunl0.rp_filter=0
### rs2 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.2.12/24 dev rs2-eth0
ip link set rs2-eth0 up
# routes: where the other networks are
ip route add default via 10.0.2.254
# arp: only the director may answer ARP requests for the virtual address: arp_ignore answers only for addresses of the receiving interface, arp_announce keeps the virtual address out of the servers' own requests
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.all.arp_announce=2
# tunl0: the fallback tunnel takes protocol 4 from any sender, and the virtual address on it makes the inner packet local
ip address add 10.0.0.10/32 dev tunl0
ip link set tunl0 up
# rp-filter: the inner packet's source is not reached through the tunnel, so a strict reverse path filter would drop it
sysctl -w net.ipv4.conf.all.rp_filter=0
sysctl -w net.ipv4.conf.tunl0.rp_filter=0
