# Stop the lab's own web server and wait until its ports are free.
# usage: stop-nginx.sh FOLDER SECONDS, the folder of its files and how long it may take
nginx -e "$1/nginx.log" -p "$1" -c "$1/nginx.conf" -s stop || exit
n=0
while [ -e "$1/nginx.pid" ]; do
    n=$((n + 1))
    [ $n -lt $((20 * $2)) ] || { echo 'nginx does not stop' >&2; exit 1; }
    sleep 0.05
done
