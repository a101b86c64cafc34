# Run iperf3 until its connection is neither refused nor reset, and print its JSON.
# usage: iperf3.sh TRIES PAUSE OPTIONS…, the pause in seconds
tries=$1 pause=$2
shift 2
n=0
while [ $n -lt "$tries" ]; do
    out=$(iperf3 "$@" --json)
    case $out in *'"error"'*refused*|*'"error"'*reset*) ;; *) break ;; esac # the exit status does not tell
    n=$((n + 1))
    sleep "$pause"
done
printf '%s' "$out"
