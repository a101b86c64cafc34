#!/usr/bin/busybox sh
case $QUERY_STRING in *[!0-9a-f]*|'') QUERY_STRING=none;; esac
if ! [ -f "/run/sessions/$QUERY_STRING" ]; then
    printf 'Status: 403 Forbidden\r\nContent-Type: text/plain\r\nX-Server: NAME\r\n\r\nNAME: unknown session\n'
    exit
fi
