#!/bin/busybox sh
# Process 1 of a kernel in virtual time that boots alone (virtual_time.py): it says its release, sleeps for ten minutes, draws a number, looks
# for IPVS, and switches off.
/bin/busybox mount -t proc proc /proc
echo "=release $(/bin/busybox uname -r)"
read -r before rest </proc/uptime
/bin/busybox sleep 600
read -r after rest </proc/uptime
echo "=slept $before $after"
read -r number </proc/sys/kernel/random/uuid
echo "=number $number"
[ ! -e /proc/net/ip_vs ] || echo "=ipvs there"
/bin/busybox poweroff -f
