#!/bin/busybox sh
# Process 1 of a measured kernel: sets the system up, goes through /measurements in order, switches off. What it finds out goes in lines
# over the second serial line (see records.py); the first one is the kernel's console.
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
export PATH=/usr/sbin:/bin
exec 3>/dev/ttyS1
say() { echo "$*" >&3; }

# Run a command; when it fails, say which, and what it said.
try() {
    "$@" >/tmp/said 2>&1 && return 0
    code=$?
    say "failed $N $code $*"
    while read -r line; do say "said $N $line"; done </tmp/said
    return 1
}
. /measure.sh

N=-
say "boot $(uname -r) $(cut -d ' ' -f 1 /proc/uptime)"
if try sysctl -q -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 && try modprobe -a $(cat /modules); then
    say "clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
    for N in $(ls /measurements | sort -n); do
        cd "/measurements/$N"
        say "begin $N"
        prepare && go && say "done $N"
        N=$N clean || break
    done
    say "end"
fi
poweroff -f
