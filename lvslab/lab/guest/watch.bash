# Print a director's table of virtual services at once and after each change, a line each:
# |SERVICE;SERVER;SERVER|SERVICE… as in /proc/net/ip_vs, without the counters.
# usage: watch.bash PERIOD, the seconds between two looks
#
# Only what bash does itself: in a guest a program's start costs 40 ms and more. Standard input stays
# silent, so `read -t` is a sleep.
period=$1
last=.
while :; do
    mapfile -t lines </proc/net/ip_vs
    table=
    for line in "${lines[@]:3}"; do
        set -- $line
        if [[ $1 == '->' ]]; then table+=";$2 $3 $4"; else table+="|$*"; fi
    done
    if [[ $table != "$last" ]]; then printf '%s\n' "$table"; last=$table; fi
    read -r -t "$period" && exit
done
