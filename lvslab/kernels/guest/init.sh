#!/bin/busybox sh
# Process 1 of a guest, in the initramfs. Every program started here costs some 15 ms, so mounts and modules go in batches.
# From the kernel's command line:
#   LVSLAB_AGENT    device of the line to the host
#   LVSLAB_DRIVERS  modules that this device and the host's files need, if they are not built in
#   LVSLAB_MODULES  modules that the node needs
# Some once in a thousand boots the first fork fails (EAGAIN), on busy machines only, and why is not known. It is said on the console,
# with what fork(2) names as the cause, and a fresh shell tries once more; a second failure is the end.
trap 'echo "init: a program could not be started${LVSLAB_SECOND:+ a second time}; RLIMIT_NPROC:"; ulimit -u
    [ -n "$LVSLAB_SECOND" ] || { export LVSLAB_SECOND=yes; exec /bin/busybox sh /init; }' EXIT
IFS=,
if [ -n "$LVSLAB_DRIVERS" ]; then
    /bin/busybox mount -a -T /etc/fstab.devices
    /bin/busybox modprobe -a $LVSLAB_DRIVERS
    until [ -c "$LVSLAB_AGENT" ]; do /bin/busybox usleep 1000; done
    # Network cards are given to their driver one by one, when the host has joined them to something.
    echo 0 >/sys/bus/virtio/drivers_autoprobe
fi
/bin/busybox mount -a
# The line to the host stays open as descriptor 3 for the agent. Without echo: it would mix what the host writes into what is said here.
exec 3<>"$LVSLAB_AGENT"
[ ! -t 3 ] || /bin/busybox stty raw -echo <&3
echo "=init" >&3
[ -z "$LVSLAB_MODULES" ] || /bin/busybox modprobe -a $LVSLAB_MODULES || echo "=problem modules" >&3
unset IFS
# The host's files, read-only and nosuid below a tmpfs: the guest may write anywhere, the host stays as it is, and programs that are
# setuid on the host do not change identity in the guest.
/bin/busybox mkdir /rw/upper /rw/work /dev/pts
/bin/busybox mount -t overlay -o nosuid,lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work overlay /root || echo "=problem overlay" >&3
[ -d /root/lib/modules ] || /bin/busybox mkdir -p /root/lib/modules
/bin/busybox mount -a -T /etc/fstab.root || echo "=problem mounts" >&3
ip link set lo up
exec /bin/busybox switch_root /root /bin/sh /mnt/agent.sh
