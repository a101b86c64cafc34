# A program that asks over one connection again and again, and notes each answer with its time in
# /root/answers. A pause that is no program of its own, `read -t` from a pipe where nobody writes,
# costs a guest nothing.
while :; do
    if exec 3<>/dev/tcp/10.0.0.10/80; then
        while printf 'GET / HTTP/1.1\r\nHost: shop\r\n\r\n' >&3; do
            while read -r line <&3 && [ "$line" != $'\r' ]; do :; done
            read -r answer <&3 || break
            printf '%(%T)T %s\n' -1 "$answer" >>/root/answers
            read -rt 0.5 <>/run/never
        done
        echo "the connection is gone: once more" >>/root/answers
    fi 2>/dev/null
    read -rt 0.5 <>/run/never
done
