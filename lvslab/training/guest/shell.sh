# Become an interactive shell on the terminal that is standard input.
# usage: shell.sh NOTE ROWS COLUMNS TERM RCFILE; the terminal's name goes into the file NOTE when it
# has its size, so that who changes the size (resize.sh) comes after
there=$(readlink /proc/self/fd/0)
stty -F "$there" sane -ixon rows "$2" cols "$3"
echo "$there" >"$1"
export TERM="$4" HOME=/root LC_ALL=C.UTF-8
exec setsid -c -w bash --rcfile "$5" -i <"$there" >"$there" 2>&1
