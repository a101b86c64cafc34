#!/bin/sh
# Prints what `lvslab doctor --read` wants to know of a director or real server. It only reads:
# it sends nothing, sets nothing and loads no module. As root it sees more. Run it on every
# machine of the group, and give all its outputs to one `lvslab doctor --read`:
#     sh this-script > "$(uname -n).txt"
# Passwords of configuration files are left out; look at the text before you pass it on.
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL
part() { echo "@MARK@$1"; }
has() {
    command -v "$1" >/dev/null 2>&1 && return 0
    part 'not read'
    echo "$1: this machine has no such program"
    return 1
}
part "machine $(uname -n)"
part release
uname -r
part files
grep -H '' @FILES@ 2>&1
if has ip; then
    part addresses
    ip -details address show 2>/dev/null || ip address show 2>&1
    part routes
    ip -4 route show table all 2>&1
    part 'routes of IPv6'
    ip -6 route show table all 2>/dev/null
    part 'routing rules'
    ip -4 rule show 2>&1
    part 'routing rules of IPv6'
    ip -6 rule show 2>/dev/null
    part neighbours
    ip neigh show 2>&1
fi
if command -v ss >/dev/null 2>&1; then
    part idle
    ss -t -n -i state established 2>&1 | head -n @CONNECTIONS@
fi
part rules
if [ -e /proc/net/ip_tables_names ] && has iptables-save; then
    part rules
    iptables-save 2>&1
fi
if [ -e /proc/net/ip6_tables_names ] && has ip6tables-save; then
    part rules
    ip6tables-save 2>&1
fi
if [ -d /sys/module/nf_tables ] && has nft; then
    part ruleset
    nft list ruleset 2>&1
fi
if [ -s /proc/net/arp_tables_names ] && has arptables-save; then
    part arp
    arptables-save 2>&1
fi
if [ -e /proc/net/ip_vs ] && has ipvsadm; then
    @IPVSADM@
    part synced
    grep -c ' SYNC ' /proc/net/ip_vs_conn_sync 2>&1
fi
for file in /etc/keepalived/keepalived.conf; do
    [ -r "$file" ] || continue
    part keepalived.conf
    sed 's/\(auth_pass[[:blank:]]*\).*/\1(left out)/' "$file"
done
for file in /etc/ha.d/ldirectord.cf /etc/ldirectord.cf; do
    [ -r "$file" ] || continue
    part ldirectord.cf
    sed 's/\(\(passwd\|secret\|login\)[[:blank:]]*=\).*/\1"left out"/' "$file"
done
exit 0
