#!/bin/bash
# Sets kernel parameters, from lines of a file and its value on standard input; the file may be a pattern, as in sysctl.conf(5).
# Prints those that are not there or refuse their value. No program is started: each costs tens of milliseconds in a guest.
while read -r pattern value; do
    for file in $pattern; do
        read -r now 2>/dev/null <"$file" && [ "${now//$'\t'/ }" = "$value" ] && continue
        { echo "$value" >"$file"; } 2>/dev/null || echo "$file"
    done
done
