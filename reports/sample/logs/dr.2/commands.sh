### c1 (client)
# addresses: interfaces and their addresses
ip address add 10.0.0.101/24 dev c1-eth0
ip link set c1-eth0 up
### lvs (director)
# addresses: interfaces and their addresses
ip address add 10.0.0.1/24 dev lvs-eth0
ip link set lvs-eth0 up
# vip: the director answers for the virtual address
ip address add 10.0.0.10/32 dev lvs-eth0
# virtual services
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.11:80 -g -w 1
ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.12:80 -g -w 1
ipvsadm -A -u 10.0.0.10:5300 -s rr
ipvsadm -a -u 10.0.0.10:5300 -r 10.0.0.11:5300 -g -w 1
ipvsadm -a -u 10.0.0.10:5300 -r 10.0.0.12:5300 -g -w 1
ipvsadm -A -t 10.0.0.10:5201 -s rr -p 300
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.0.11:5201 -g -w 1
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.0.12:5201 -g -w 1
### rs1 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.0.11/24 dev rs1-eth0
ip link set rs1-eth0 up
# arp: only the director may answer ARP requests for the virtual address: arp_ignore answers only for addresses of the receiving interface, arp_announce keeps the virtual address out of the servers' own requests
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.all.arp_announce=2
# vip-on-lo: the real server accepts packets for the virtual address
ip address add 10.0.0.10/32 dev lo
### rs2 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.0.12/24 dev rs2-eth0
ip link set rs2-eth0 up
# arp: only the director may answer ARP requests for the virtual address: arp_ignore answers only for addresses of the receiving interface, arp_announce keeps the virtual address out of the servers' own requests
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.all.arp_announce=2
# vip-on-lo: the real server accepts packets for the virtual address
ip address add 10.0.0.10/32 dev lo
