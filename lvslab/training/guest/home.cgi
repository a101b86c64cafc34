printf 'Content-Type: text/plain\r\nX-Server: NAME\r\n\r\nNAME knows you\n'
