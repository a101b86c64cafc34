"""What an attacker tries: root's shell in a guest, and a program in the place of its kernel. Each
says GOT when it has reached something.
"""

from __future__ import annotations

ROOT_SHELL = {
    "the guest's own files": "cat {secret}",
    "hostfs of the root": "{hostfs} / && cat /tmp/h{secret}",
    "hostfs of the secret's folder": "{hostfs} {place} && cat /tmp/h/secret",
    "hostfs by way of the share": "{hostfs} {share}/../../../../..{place} && cat /tmp/h/secret",
    "shadow": "{hostfs} /etc && grep -q ^root: /tmp/h/shadow && echo GOT",
    "a link of the share": "ln -s {secret} /mnt/link && cat /mnt/link",
    "write beside the secret": "{hostfs} {place} && echo GOT >/tmp/h/written && echo GOT",
    "write below /usr": "{hostfs} /usr && echo x >/tmp/h/lvslab-test && echo GOT",
    "the lower layer made writable": "cd /lib/modules && mount -o remount,rw . && echo x >x && echo GOT",
    "the machine's processes": "{hostfs} /proc && ls /tmp/h | grep -q '^[0-9]' && echo GOT",
    "the machine's sysctls": "{hostfs} /proc/sys && cat /tmp/h/kernel/ostype && echo GOT",
    "the machine's /sys": "{hostfs} /sys && ls /tmp/h/class && echo GOT",
    "the machine's /dev": "{hostfs} /dev && ls /tmp/h | grep -E '^(sd|vd|loop|mem)' && echo GOT",
    "another lab's folder": "{hostfs} {other} && ls /tmp/h && echo GOT",
    "the checkout": "{hostfs} {checkout} && ls /tmp/h && echo GOT",
    "9p over a socket of the machine": "mount -t 9p -o trans=unix {other}/socket /tmp/h && echo GOT",
    "a device made in the share": "mknod /mnt/null c 1 3 && : >/mnt/null && [ -c /mnt/null ] && echo GOT",
    "the output file a link": "cd /mnt/jobs; ln -sf {secret} $(ls -t | grep out | head -n 1)",
    "the file of errors a link": "cd /mnt/jobs; ln -sf {secret} $(ls -t | grep err | head -n 1)",
    "the output file a FIFO": "cd /mnt/jobs; f=$(ls -t | grep out | head -n 1); rm $f; mkfifo $f",
    "the output file a device": "cd /mnt/jobs; f=$(ls -t | grep out | head -n 1); rm $f; mknod $f c 1 5",
    "the output file a folder": "cd /mnt/jobs; f=$(ls -t | grep out | head -n 1); rm $f; mkdir $f",
    "the output file a hole": "cd /mnt/jobs; truncate -s 1G $(ls -t | grep out | head -n 1)",
}
"""Scripts of root in a User-Mode Linux guest; `{…}` are places on the machine."""

HARMLESS_SHELL = (
    "the guest's own files",
    "hostfs of the root",
    "hostfs of the secret's folder",
    "write beside the secret",
    "the machine's processes",
    "another lab's folder",
    "the checkout",
)

ROOT_SHELL_9P = {
    "the secret": "cat /tmp/h{secret}",
    "shadow": "grep -q ^root: /tmp/h/etc/shadow && echo GOT",
    "another lab's folder": "ls /tmp/h{other} && echo GOT",
    "the checkout": "ls /tmp/h{checkout} && echo GOT",
    "homes": "ls /tmp/h/root /tmp/h/home | grep -v : | grep . && echo GOT",
    "the root of another process": "cat /tmp/h/proc/1/root{secret}",
    "processes": "grep -l lvslab /tmp/h/proc/[0-9]*/comm && echo GOT",
    "write beside the secret": "echo x >/tmp/h{place}/written",
    "a link of the share": "ln -s {secret} /mnt/link && cat /mnt/link",
    "the output file a link": "cd /mnt/jobs; ln -sf {secret} $(ls -t | grep out | head -n 1)",
    "the output file a FIFO": "cd /mnt/jobs; f=$(ls -t | grep out | head -n 1); rm $f; mkfifo $f",
    "the output file a hole": "cd /mnt/jobs; truncate -s 1G $(ls -t | grep out | head -n 1)",
}
"""Scripts of root in a guest under QEMU; /tmp/h is all that QEMU serves by 9p, without the guest's
own mounts above. It can be mounted once only, and that the guest has done.
"""

PROCESS = {
    "the secret": "got(open(secret).read())",
    "shadow": "got('root:' in open('/etc/shadow').read())",
    "homes": "got([name for place in ('/root', '/home') for name in os.listdir(place)])",
    "another lab's folder": "got(os.listdir(other))",
    "the checkout": "got(os.listdir(checkout))",
    "a file beside the secret": "open(place + '/written', 'w'); got(True)",
    "a file in /usr": "open('/usr/lvslab-test', 'w'); os.remove('/usr/lvslab-test'); got(True)",
    "a signal to another process": "os.kill(victim, 0); got(True)",
    "ptrace of another process": "got(call(101, 16, victim, 0, 0) == 0)",
    "the list of processes": "got([name for name in os.listdir('/proc') if name.isdigit()])",
    "a socket of the keeper": "s = socket.socket(socket.AF_UNIX); s.connect(other + '/socket'); got(True)",
    "an abstract socket": "s = socket.socket(socket.AF_UNIX); s.connect('\\0' + abstract); got(True)",
    "the network outside": "got([name for _, name in socket.if_nameindex() if name != 'lo'])",
    "a network interface": "got(os.spawnvp(os.P_WAIT, 'ip', ['ip', 'link', 'set', 'lo', 'up']) == 0)",
    "another user": "os.setresuid(65534, 65534, 65534); got(True)",
    "a user namespace": "got(call(272, 0x10000000) == 0)",
    "a user namespace by clone": "pid = call(56, 0x10000011, 0, 0, 0, 0); pid or os._exit(0); got(pid > 0)",
    "another process's namespace": "got(call(308, os.open(f'/proc/{victim}/ns/net', 0), 0) == 0)",
    "a mount": "got(call(165, b'x', b'/tmp', b'tmpfs', 0, 0) == 0)",
    "another root": "got(call(161, b'/tmp') == 0)",
    "a device": "os.mknod(folder + '/m', 0o20600, 0x101); got(open(folder + '/m', 'rb').read(1))",
    "the kernel's keys": "got(call(250, 0, -5, 1) > 0)",
    "bpf": "got(call(321, 0, b'\\2\\0\\0\\0\\4\\0\\0\\0\\4\\0\\0\\0\\1\\0\\0\\0', 16) >= 0)",
    "io_uring": "got(call(425, 1, bytes(120)) >= 0)",
    "handles of files": "got(call(304, 0, bytes(16), 0) != -1 or ctypes.get_errno() != errno.EPERM)",
    "the machine's log": "got(call(103, 10, 0, 0) > 0)",
    "its name": "socket.sethostname(socket.gethostname()); got(True)",
}
"""Statements of a program in the kernel's place. Numbers are system calls of x86-64 (`unistd_64.h`)
and their flags.
"""

HARMLESS = ("the secret", "another lab's folder", "the checkout", "a signal to another process", "bpf")

ALONE = (
    "the secret",
    "shadow",
    "homes",
    "another lab's folder",
    "the checkout",
    "a file beside the secret",
    "a file in /usr",
    "a signal to another process",
    "ptrace of another process",
    "a socket of the keeper",
    "an abstract socket",
    "the network outside",
    "another process's namespace",
    "a mount",
    "another root",
    "a device",
    "the machine's log",
)
"""Of these, what a kernel that is measured or tried alone does not get either."""

PROGRAM = """
import ctypes, errno, os, socket, sys
secret, place, other, checkout, folder, abstract, victim = {values!r}
library = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    words = [ctypes.c_char_p(each) if isinstance(each, bytes) else ctypes.c_long(each) for each in arguments]
    return library.syscall(ctypes.c_long(number), *words)
def got(what):
    print('GOT' if what else 'nothing')
def attempt(name, text):
    print(name, end='\\t', flush=True)
    if (child := os.fork()) == 0:
        try:
            exec(text)
        except BaseException as error:
            print(type(error).__name__, error)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
for name, text in {attempts!r}.items():
    attempt(name, text)
"""

TAKE = """
import os, signal
count = 0
try:
    while count < 10000:
        if os.fork() == 0:
            signal.pause()
        count += 1
except OSError as error:
    print("processes", count, error.errno)
try:
    bytearray(4 << 30)
except MemoryError:
    print("memory")
"""
"""Takes processes and memory until it is refused."""
