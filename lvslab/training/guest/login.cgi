#!/usr/bin/busybox sh
sid=$(head -c 6 /dev/urandom | xxd -p)
>/run/sessions/$sid
printf 'Content-Type: text/plain\r\nX-Server: NAME\r\n\r\n%s\n' $sid
