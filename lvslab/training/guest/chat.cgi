# The handshake of RFC 6455, section 4.2.2, and one text frame (section 5.2; the length is that of
# NAME: three letters).
accept=$(printf '%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11' "$HTTP_SEC_WEBSOCKET_KEY" | sha1sum | xxd -r -p | base64)
printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
printf 'X-Server: NAME\r\nSec-WebSocket-Accept: %s\r\n\r\n' "$accept"
printf '\201\003NAME'
