# Runs jobs in a guest for the host: process 1 after the switch to the real root, under the host's own /bin/sh (busybox's would
# prefer its own ip, ps, … to the real ones).
#   host to guest, a line each:  B run N       source /mnt/jobs/N.sh in a subshell; output to N.out and N.err
#                                B start N L   run /mnt/jobs/N.sh in its own session on the lines L (in, out) and L+1 (error)
#                                B signal N S  send signal S to the session of job N
#                                (empty)       nothing: wakes a line whose interrupt was lost
#   guest to host:               =up SECONDS   =heard B   =started N PID   =ended N STATUS
# The line to the host is descriptor 3, open since process 1 began; the lines for jobs are $LVSLAB_LINES1, $LVSLAB_LINES2, …
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb
cd /mnt/jobs

run() {
    ( exec 3<&-; . "./$1.sh" ) >"$1.out" 2>"$1.err" </dev/null
    echo "=ended $1 $?" >&3
}

start() {
    if [ -t 3 ]; then
        stty raw -echo <"$LVSLAB_LINES$2"
        stty raw -echo <"$LVSLAB_LINES$(($2 + 1))"
    fi
    # A shell without job control lets background processes ignore SIGINT and SIGQUIT; a started process shall take them. Each line is opened
    # once: the port of a virtio console cannot be opened again (drivers/char/virtio_console.c).
    setsid env --default-signal=INT,QUIT /bin/sh "./$1.sh" <>"$LVSLAB_LINES$2" >&0 2>"$LVSLAB_LINES$(($2 + 1))" 3<&- &
    echo "$!" >"$1.pid"
    echo "=started $1 $!" >&3
    wait "$!"
    echo "=ended $1 $?" >&3
}

read -r up rest </proc/uptime
echo "=up $up" >&3
while read -r bell verb job argument <&3; do
    [ -z "$bell" ] || echo "=heard $bell" >&3
    case $verb in
        run) run "$job" & ;;
        start) start "$job" "$argument" & ;;
        signal) kill "-$argument" "-$(cat "$job.pid")" ;;
    esac
done
