# Give a shell's terminal another size; its programs get SIGWINCH (tty_ioctl(4), TIOCSWINSZ).
# usage: resize.sh NOTE ROWS COLUMNS; the terminal's name is in the file NOTE once the shell has it
tries=0
until [ -s "$1" ] || [ $((tries += 1)) -gt 100 ]; do sleep 0.05; done
stty -F "$(cat "$1")" rows "$2" cols "$3"
