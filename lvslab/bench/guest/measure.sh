# One measurement, in the directory with its files (setup.py). Programs of iproute2 by path: busybox's shell would take its own.
IP=/usr/sbin/ip
TC=/usr/sbin/tc
PKTGEN=/proc/net/pktgen

prepare() {
    { [ ! -s options ] || try modprobe ip_vs $(cat options); } &&
        { [ ! -s modules ] || try modprobe -a $(cat modules); } &&
        try $IP -batch netns.ip &&
        try $IP netns exec d /bin/busybox sysctl -q -p early.sysctl &&
        try $IP netns exec r /bin/busybox sysctl -q -p early.sysctl &&
        try $IP -batch links.ip &&
        try $IP -n d -batch links.d &&
        try $IP -n d -batch director.ip &&
        try $IP -n r -batch server.ip &&
        try $IP link set g up &&
        try $TC -n d qdisc add dev d0 clsact &&
        try $TC -n r -batch server.tc &&
        { [ ! -e director.iptables ] || try $IP netns exec d /usr/sbin/iptables-restore director.iptables; } &&
        { [ ! -e director.ipvs ] || try $IP netns exec d /bin/sh -c '/usr/sbin/ipvsadm -R <director.ipvs'; } &&
        try $IP netns exec d /bin/busybox sysctl -e -q -p quiet.sysctl &&
        try $IP netns exec d /bin/busybox sysctl -q -p director.sysctl &&
        try write $PKTGEN/kpktgend_0 "add_device g"
}

go() {
    while read -r step what; do
        $step "$what" || return 1
    done <steps
}

door() { try $TC -n d -batch "door.$1"; }

# Let the packet generator make one pass. Time is virtual: while the processor has nothing to do it leaps, so waiting costs nothing, and
# after a second of it no work of the set-up (RCU, work queues, timers) is left over.
send() {
    while read -r line; do
        try write $PKTGEN/g "$line" || return 1
    done <"$1.pktgen"
    sleep 1
    try write $PKTGEN/pgctrl start || return 1
    sed -n "s/^ *pkts-sofar:/pktgen $N $1 sofar/p; s/^Result:/pktgen $N $1 result/p" $PKTGEN/g >&3
}

write() { echo "$2" >"$1"; }

# What arrived, and what IPVS counted, since the beginning.
look() {
    if [ -e drops ]; then
        try $TC -n d -s -j filter show dev d0 ingress || return 1
        say "dropped $N $1 $(cat /tmp/said)"
    fi
    try $TC -n r -s -j filter show dev r0 ingress || return 1
    say "arrived $N $1 $(cat /tmp/said)"
    [ -e director.ipvs ] || return 0
    try $IP netns exec d /bin/sh /look.sh || return 1
    say "ipvs $N $1" $(cat /tmp/said)
}

# Take everything away and wait until it is gone: the modules of IPVS go only when no connection is left, and come back afresh.
clean() {
    try write $PKTGEN/kpktgend_0 rem_device_all && try $IP link del g && try $IP netns del d && try $IP netns del r || return 1
    sleep 2
    [ ! -s unload ] || try rmmod $(cat unload)
}
