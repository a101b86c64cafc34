# Four users who keep their connections and ask once a second; the answers go to /root/staying.
for n in 1 2 3 4; do
    until exec {fd}<>/dev/tcp/10.0.0.10/80; do read -rt 0.2 <>/run/never; done
    fds="$fds $fd"
done 2>/dev/null
while :; do
    for fd in $fds; do
        printf 'GET / HTTP/1.1\r\nHost: shop\r\n\r\n' >&$fd
        while read -r line <&$fd && [ "$line" != $'\r' ]; do :; done
        read -r answer <&$fd && printf '%(%T)T %s\n' -1 "$answer" >>/root/staying
    done
    read -rt 1 <>/run/never
done
