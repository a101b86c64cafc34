#!/bin/busybox sh
# Process 1 of the kernel by which KVM is tried (kvm.py): it says that it is there and switches off.
/bin/busybox echo 'lvslab guest is up'
/bin/busybox poweroff -f
