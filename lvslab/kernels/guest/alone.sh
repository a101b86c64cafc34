#!/bin/busybox sh
# Process 1 of a kernel that boots alone (qemu_alone.py): it says its release, loads IPVS, and switches off.
/bin/busybox mount -t proc proc /proc
echo "=release $(/bin/busybox uname -r)"
/bin/busybox modprobe ip_vs && echo "=ipvs loaded"
/bin/busybox poweroff -f
