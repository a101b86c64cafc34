#!/bin/bash
# Stands where a script of the user's is missing, and notes its calls. It answers as the server does that it is asked about: an
# address and a port among its arguments are tried by TCP.
echo "$0 $*" >>@LOG@
address= port=
for word; do
    case $word in
        *.*.*.*|*:*:*) address=$word;;
        *[!0-9]*) ;;
        ?*) port=$word;;
    esac
done
[ -z "$address" ] || [ -z "$port" ] || exec 3<>"/dev/tcp/$address/$port"
