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
# virtual services
ipvsadm -A -t 10.0.0.10:80 -s rr
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.11:8080 -m -w 1
ipvsadm -a -t 10.0.0.10:80 -r 10.0.1.12:8080 -m -w 1
ipvsadm -A -u 10.0.0.10:5300 -s rr
ipvsadm -a -u 10.0.0.10:5300 -r 10.0.1.11:5301 -m -w 1
ipvsadm -a -u 10.0.0.10:5300 -r 10.0.1.12:5301 -m -w 1
ipvsadm -A -t 10.0.0.10:5201 -s rr -p 300
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.1.11:5201 -m -w 1
ipvsadm -a -t 10.0.0.10:5201 -r 10.0.1.12:5201 -m -w 1
### rs1 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.1.11/24 dev rs1-eth0
ip link set rs1-eth0 up
# routes: where the other networks are
ip route add default via 10.0.1.1
### rs2 (real server)
# addresses: interfaces and their addresses
ip address add 10.0.1.12/24 dev rs2-eth0
ip link set rs2-eth0 up
# routes: where the other networks are
ip route add default via 10.0.1.1
